"""What a write changes, as tags, and when they are renewed."""
