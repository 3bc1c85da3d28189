"""The caches that hold tokens and entries: what is asked of them, and what when they fail."""
