"""The audit that needs no database: what the installed models declare."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from django.apps import apps
from django.db import connections, models, router

from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin, declared_indexes
from django_querybudget.indexes.models.resolve import resolution_of
from django_querybudget.indexes.redundancy import Coverage, Redundancy, find_redundant
from django_querybudget.stacks import is_project_file

from .findings import FindingKind, IndexFinding

_WRITTEN = {IndexOrigin.INDEX, IndexOrigin.CONSTRAINT, IndexOrigin.DATABASE}


def audited_models(
    *, third_party: bool = False, auto_created: bool = False
) -> list[type[models.Model]]:
    """Return the installed models with a table of their own that Django manages.

    Models of packages in ``site-packages`` are left out unless asked for: their ``Meta`` is not
    the project's to change.
    """
    return [
        model
        for model in apps.get_models(include_auto_created=auto_created)
        if model._meta.managed
        and not model._meta.proxy
        and not model._meta.swapped
        and (third_party or not is_third_party(model))
    ]


def is_third_party(model: type[models.Model]) -> bool:
    """Return whether ``model`` is of an installed package, whose ``Meta`` is not the project's."""
    config = model._meta.app_config
    module = sys.modules.get(model.__module__)
    found: str | None = config.path if config else getattr(module, "__file__", None)
    return found is not None and not is_project_file(found)


def audit_models(installed: Iterable[type[models.Model]]) -> list[IndexFinding]:
    """Return the redundant indexes and the foreign keys without one, of the models given."""
    return [
        finding
        for model in installed
        for finding in [*_redundant(model), *unindexed_foreign_keys(model, _vendor(model))]
    ]


def _redundant(model: type[models.Model]) -> list[IndexFinding]:
    documented = {index.name for index in resolution_of(model).added}
    return [
        redundancy_finding(model._meta.label, redundancy, documented)
        for redundancy in find_redundant(declared_indexes(model))
    ]


def redundancy_finding(
    label: str, redundancy: Redundancy, documented: set[str], size: int | None = None
) -> IndexFinding:
    """Return the finding that says what ``redundancy`` means and what to do."""
    index, kept = redundancy.index, redundancy.covered_by
    is_documented = bool(index.name) and index.name in documented
    if redundancy.relation is Coverage.PREFIX:
        kind = FindingKind.PREFIX
        reason = f"the longer {kept} begins with the same columns"
    elif kept.unique or kept.origin in {IndexOrigin.FOREIGN_KEY, IndexOrigin.DB_INDEX}:
        kind = FindingKind.REDUNDANT
        reason = f"{kept.origin.value} already gives {kept}"
    else:
        kind = FindingKind.DUPLICATE
        reason = f"{kept} has the same columns"
    return IndexFinding(
        kind=kind,
        model=label,
        table=index.table,
        index=index.name or f"({', '.join(index.columns)})",
        message=f"{_subject(index, is_documented)} of {label} is "
        f"{'usually ' if kind is FindingKind.PREFIX else ''}redundant: {reason}.",
        hint=_removal(redundancy, label, is_documented),
        documented=is_documented,
        implied=index.origin not in _WRITTEN,
        size=size,
    )


def _subject(index: IndexDefinition, documented: bool) -> str:
    if documented:
        return f"The documented index {index}"
    if index.origin in _WRITTEN:
        return f"The index {index}"
    return f"The index that {index.origin.value} makes on {index}"


def _removal(redundancy: Redundancy, label: str, documented: bool) -> str:
    index = redundancy.index
    if documented:
        return f"Set index_skip_redundant = True on {label}, or keep it: it costs every write."
    if index.origin is IndexOrigin.FOREIGN_KEY:
        kept = "longer" if redundancy.relation is Coverage.PREFIX else "other"
        return f"Set db_index=False on the foreign key, if the {kept} index is there to stay."
    if index.origin in {IndexOrigin.DB_INDEX, IndexOrigin.UNIQUE}:
        return f"Remove {index.origin.value} from the field {index.columns[0]!r}."
    if index.origin is IndexOrigin.CONSTRAINT:
        return "Remove it from Meta.constraints or Meta.unique_together."
    return f"Remove it from Meta.indexes of {label}, and make the migration."


def _vendor(model: type[models.Model]) -> str:
    return connections[router.db_for_write(model)].vendor


def unindexed_foreign_keys(model: type[models.Model], vendor: str) -> list[IndexFinding]:
    """Return the foreign keys of ``model`` that no index begins with, on a database of a kind."""
    opts = model._meta
    leading = {
        item.columns[0]
        for item in declared_indexes(model)
        if item.method in {"btree", "hash"} and not item.condition and not item.expressions
    }
    findings = []
    for field in opts.local_fields:
        if not isinstance(field, models.ForeignKey) or field.column in leading:
            continue
        if vendor == "mysql" and getattr(field, "db_constraint", True):
            # InnoDB makes an index for every foreign key constraint by itself.
            continue
        findings.append(
            IndexFinding(
                kind=FindingKind.UNINDEXED_FOREIGN_KEY,
                model=opts.label,
                table=opts.db_table,
                index=f"({field.column})",
                message=f"The foreign key {opts.label}.{field.name} has no index: deleting a row "
                f"of {field.related_model._meta.label} and following the relation backwards "
                f"read all of {opts.db_table}.",
                hint="Remove db_index=False, or declare an index that begins with "
                f"{field.attname!r}.",
            )
        )
    return findings
