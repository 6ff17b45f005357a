"""What a query means: expressions and plan nodes, each stated over Polars frames. Knows nothing of how they run."""
