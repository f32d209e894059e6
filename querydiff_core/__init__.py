"""QueryDiff: domain-generalised semantic segmentation; trains with a diffusion teacher, drives without it."""
