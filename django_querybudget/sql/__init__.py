"""SQL as text: its shape, its kind, and short forms to read. Nothing here asks a database."""
