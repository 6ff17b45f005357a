"""The plan nodes, one file an operator or a family of it."""
