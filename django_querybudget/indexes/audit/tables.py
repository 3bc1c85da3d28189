"""The findings on one model's table: the database's indexes against the declared ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import models

from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin
from django_querybudget.indexes.introspection import DatabaseIndex, Snapshot
from django_querybudget.indexes.models.resolve import resolution_of
from django_querybudget.indexes.redundancy import find_redundant

from .expected import Match, match_indexes
from .findings import FindingKind, IndexFinding
from .models import redundancy_finding, unindexed_foreign_keys

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class TableAudit:
    """Judges the indexes of one model's table. ``min_rows``: smaller ones have no unused ones."""

    def __init__(
        self,
        model: type[models.Model],
        connection: BaseDatabaseWrapper,
        snapshot: Snapshot,
        *,
        min_rows: int,
    ) -> None:
        self.model = model
        self.label = model._meta.label
        self.table = model._meta.db_table
        self.usage = snapshot.usage
        self.min_rows = min_rows
        self.vendor = connection.vendor
        self.foreign_keys = {
            key.column for key in model._meta.local_fields if isinstance(key, models.ForeignKey)
        }
        self.documented = {index.name for index in resolution_of(model).added}
        self.found = [i for i in snapshot.indexes if i.definition.table == self.table]
        self.match: Match = match_indexes(model, connection, self.found)

        # In the model's order: of two equal indexes the first stays.
        known = list(self.match.known)
        self.found.sort(
            key=lambda i: known.index(n) if (n := i.definition.name) in known else len(known)
        )
        self.redundancies = find_redundant(
            self._as_declared(index) for index in self.found if index.valid
        )

    def findings(self) -> list[IndexFinding]:
        """Return what was found, each index told once as unused or as redundant."""
        invalid = [index for index in self.found if not index.valid]
        redundant = self._redundant()
        told = {index.definition.name for index in invalid}
        told |= {finding.index for finding in redundant if finding.kind is not FindingKind.PREFIX}
        # A query may be served by either of the two.
        unsure = told | {r.index.name for r in self.redundancies}
        unsure |= {r.covered_by.name for r in self.redundancies}
        return [
            *(self._missing(declared) for declared in self.match.missing),
            *(self._renamed(declared, index) for declared, index in self.match.renamed),
            *(self._invalid(index) for index in invalid),
            *redundant,
            *(self._extra(i) for i in self.match.extra if i.definition.name not in told),
            *(self._unused(i) for i in self.found if self._is_unused(i, unsure)),
            *self._unindexed_foreign_keys(),
        ]

    def _finding(self, kind: FindingKind, index: str, message: str, hint: str) -> IndexFinding:
        return IndexFinding(
            kind=kind,
            model=self.label,
            table=self.table,
            index=index,
            message=message,
            hint=hint,
            size=self.usage.sizes.get((self.table, index)),
        )

    def _rename(self, name: str, new: str) -> str:
        if self.vendor == "mysql":
            return f"ALTER TABLE {self.table} RENAME INDEX {name} TO {new}"
        if self.vendor == "sqlite":
            return f"SQLite cannot, so drop {name} and create {new}"
        return f"ALTER INDEX {name} RENAME TO {new}"

    def _drop(self, name: str) -> str:
        if self.vendor == "mysql":
            return f"DROP INDEX {name} ON {self.table}"
        return f"DROP INDEX {'CONCURRENTLY ' if self.vendor == 'postgresql' else ''}{name}"

    def _missing(self, declared: IndexDefinition) -> IndexFinding:
        name = declared.name or f"({', '.join(declared.columns)})"
        other = next((i for i in self.found if i.definition.name == declared.name), None)
        besides = f" The index of that name is on {other.definition}." if other else ""
        return self._finding(
            FindingKind.MISSING,
            name,
            f"{self.label} declares {declared} ({declared.origin.value}), and the database does "
            f"not have it.{besides}",
            "Run 'manage.py migrate'; if it says that nothing is to do, the index was dropped "
            "by hand: create it again with the statement that 'manage.py sqlmigrate' prints.",
        )

    def _renamed(self, declared: IndexDefinition, index: DatabaseIndex) -> IndexFinding:
        return self._finding(
            FindingKind.RENAMED,
            declared.name,
            f"{self.label} declares {declared}; the database has it as {index.definition.name}.",
            "A migration that renames or removes it will fail. Rename it in the database: "
            f"{self._rename(index.definition.name, declared.name)}.",
        )

    def _invalid(self, index: DatabaseIndex) -> IndexFinding:
        name = index.definition.name
        return self._finding(
            FindingKind.INVALID,
            name,
            f"{index.definition} of {self.label} is INVALID: a concurrent build failed. Each "
            f"write keeps it up and no query reads it.",
            f"DROP INDEX CONCURRENTLY {name}, and run the migration again; one that "
            f"--write-migration wrote drops it by itself.",
        )

    def _redundant(self) -> list[IndexFinding]:
        findings = []
        for redundancy in self.redundancies:
            index = redundancy.index
            if self.model._meta.auto_created and index.origin is IndexOrigin.FOREIGN_KEY:
                continue  # a many-to-many's own table: nothing to change
            if index.unique and index.origin is IndexOrigin.PRIMARY_KEY:
                continue
            size = self.usage.sizes.get((self.table, index.name))
            finding = redundancy_finding(self.label, redundancy, self.documented, size)
            if index.origin is IndexOrigin.DATABASE:
                finding = replace(
                    finding, hint=f"No model declares it: {self._drop(index.name)} in the database."
                )
            findings.append(finding)
        return findings

    def _unindexed_foreign_keys(self) -> list[IndexFinding]:
        leading = {
            index.definition.columns[0]
            for index in self.found
            if index.valid and not index.definition.condition
        }
        return [
            finding
            for finding in unindexed_foreign_keys(self.model, self.vendor)
            if finding.index[1:-1] not in leading
        ]

    def _as_declared(self, index: DatabaseIndex) -> IndexDefinition:
        declared = self.match.known.get(index.definition.name)
        if declared is None:
            return index.definition
        return replace(index.definition, origin=declared.origin)

    def _extra(self, index: DatabaseIndex) -> IndexFinding:
        definition = index.definition
        what = "unique index or constraint" if definition.unique else "index"
        return self._finding(
            FindingKind.EXTRA,
            definition.name,
            f"The database has the {what} {definition} on {self.table}, and {self.label} does not "
            f"declare it{self._reads(definition.name)}.",
            "Declare it in Meta, so that every database has it, or drop it; if it is there on "
            'purpose, name it in QUERYBUDGET["INDEXES"]["IGNORE"].',
        )

    def _reads(self, name: str) -> str:
        scans = self.usage.scans.get((self.table, name))
        if scans is None:
            return ""
        return f"; {scans} scans {self.usage.since}"

    def _is_unused(self, index: DatabaseIndex, told: set[str]) -> bool:
        definition = index.definition
        return (
            self.usage.scans.get((self.table, definition.name)) == 0
            and not definition.unique
            and index.valid
            and not index.internal
            and definition.name not in told
            and self.usage.table_rows.get(self.table, 0) >= self.min_rows
            and self.usage.table_reads.get(self.table, 0) > 0
            # Else Django made it beside another one, for LIKE.
            and (definition.name in self.match.known or index in self.match.extra)
            # InnoDB needs an index for the constraint, whether queries read it or not.
            and not (self.vendor == "mysql" and definition.columns[0] in self.foreign_keys)
        )

    def _unused(self, index: DatabaseIndex) -> IndexFinding:
        definition = index.definition
        declared = self.match.known.get(definition.name)
        hint = "If no replica, monthly job or report needs it, remove it."
        if definition.columns[0] in self.foreign_keys:
            hint = (
                "It begins with a foreign key: without it, deleting a row of the parent reads the "
                "whole table. Keep it, unless rows of the parent are never deleted."
            )
        elif declared is not None:
            hint = f"{hint} {_removal_of(declared)}"
        return self._finding(
            FindingKind.UNUSED,
            definition.name,
            f"No query read {definition} of {self.label} {self.usage.since}, and each write keeps "
            f"it up.",
            hint,
        )


def _removal_of(declared: IndexDefinition) -> str:
    if declared.origin is IndexOrigin.DB_INDEX:
        return f"(db_index=True on {declared.columns[0]!r}.)"
    return "(Meta.indexes, or its index set.)"
