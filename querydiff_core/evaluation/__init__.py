"""Judge predictions against ground truth."""
