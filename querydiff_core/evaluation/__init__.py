"""Judge label images against ground truth."""
