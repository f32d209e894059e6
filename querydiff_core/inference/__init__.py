"""Everything between a checkpoint and uint8 labels: the segmenter and its engines."""
