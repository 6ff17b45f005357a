"""Where rows come from and where they go: one file per format."""
