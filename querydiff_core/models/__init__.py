"""The student network, named as the paper's figure."""
