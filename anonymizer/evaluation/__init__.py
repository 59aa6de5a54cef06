"""How re-identifiable is what was released: attacks, measures, baselines, utility. Offline and adversarial."""
