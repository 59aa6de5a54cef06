"""Redraw: crops, prompts, the diffusion core, and plates drawn with other text."""
