"""Redraw: crops, prompts, the diffusion core, and plates with fake text."""
