"""Which view answers: its callables, its names in settings, the decorators of ours around it."""
