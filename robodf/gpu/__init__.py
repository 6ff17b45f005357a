"""Work on NVIDIA GPUs: what of a plan goes there, and how it runs."""
