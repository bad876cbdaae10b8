"""What should happen: expectations, moments, laws, criticality. In float64, without sampling, without files."""
