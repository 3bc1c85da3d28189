"""Indexes that mixins add to the models of the host."""
