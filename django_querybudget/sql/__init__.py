"""SQL as text: what a vendor's grammar says of it. Nothing here knows a model or a connection."""
