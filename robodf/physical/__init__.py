"""How a plan runs: in which pieces and where."""
