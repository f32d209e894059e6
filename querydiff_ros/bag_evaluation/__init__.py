"""Judge a model on recorded drives."""
