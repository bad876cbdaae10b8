"""For which cells, and remembered: studies, plans, the store."""
