"""Reading through the cache: from a queryset to its answer."""
