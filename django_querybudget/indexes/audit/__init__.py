"""The audit: the indexes of models and of real tables, what is redundant and what is missing."""
