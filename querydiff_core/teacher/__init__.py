"""The diffusion teacher: training only."""
