"""Any nn.Module, measured at every layer on a copy of it: what is measured keeps no trace."""
