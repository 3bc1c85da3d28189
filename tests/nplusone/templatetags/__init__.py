"""Tags of the corpus' templates."""
