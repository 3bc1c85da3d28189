"""The project's source, read: the expression that ran a query, the loop and function around it."""
