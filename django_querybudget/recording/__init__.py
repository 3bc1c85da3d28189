"""How a query is seen and kept: the hook, the recorders, the records they make."""
