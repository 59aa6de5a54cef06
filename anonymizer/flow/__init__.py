"""Flow: one picture from its pixels to a verified result, stage by stage."""
