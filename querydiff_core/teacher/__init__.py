"""The diffusion teacher and what it teaches by: training only, nothing that infers imports it."""
