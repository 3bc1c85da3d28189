"""A database backend that this library knows nothing of: SQLite under another name."""
