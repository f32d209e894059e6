"""A teacher without a download: trains a small latent diffusion in the layout of Stable Diffusion."""
