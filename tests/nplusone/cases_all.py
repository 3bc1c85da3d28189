"""Imports every module of cases, so that they are registered."""

from . import (
    cases_adversary,
    cases_async,
    cases_batches,
    cases_beside,
    cases_framework,
    cases_managers,
    cases_names,
    cases_queries,
    cases_relations,
    cases_shapes,
    cases_silent,
    cases_values,
    cases_views,
    cases_writes,
)

MODULES = (
    cases_relations,
    cases_queries,
    cases_views,
    cases_async,
    cases_silent,
    cases_adversary,
    cases_names,
    cases_beside,
    cases_writes,
    cases_batches,
    cases_framework,
    cases_managers,
    cases_shapes,
    cases_values,
)
