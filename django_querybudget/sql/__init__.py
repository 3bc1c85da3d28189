"""SQL as text, what a vendor's grammar says of it; and the tree of conditions that Django writes.

Nothing here knows a model or a connection.
"""
