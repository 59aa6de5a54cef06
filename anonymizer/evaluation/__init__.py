"""Evaluation: how re-identifiable released pictures are, by attacks, metrics, baselines and utility; offline."""
