"""What messages are made of: the link at their end, words for numbers."""
