"""The audit of real databases: what is there against what the models declare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.apps import apps
from django.db import connections

from django_querybudget.indexes.audit.audit import DatabaseAudit, audit_database
from django_querybudget.indexes.audit.findings import FindingKind, IndexFinding, Severity
from tests.indexes.documented import NAMES, REDUNDANT

STATUS = "payment_pay_status_124d3d_idx"
PAYMENTS = "payment_payment"

# InnoDB drops the index that it made for a foreign key when one is declared on the same columns:
# of the two there is but one, and it is not redundant.
ONCE_ON_MARIADB = {
    "payment_pay_payer_i_97dc0f_idx",
    "payment_pay_recipie_8a5de9_idx",
    "payment_pay_job_id_cd73ea_idx",
    "rating_revi_reviewe_9c4d8d_idx",
    "rating_revi_job_id_8df7f1_idx",
}


def audit(alias: str, *labels: str) -> DatabaseAudit:
    wanted = labels or tuple(NAMES)
    return audit_database(alias, [apps.get_model(label) for label in wanted])


def told(audit: DatabaseAudit, *kinds: FindingKind) -> list[IndexFinding]:
    assert audit.problems == ()
    return [finding for finding in audit.findings if finding.kind in kinds]


@contextmanager
def changed(alias: str, do: str, undo: str) -> Iterator[None]:
    """Change the schema for a while; MariaDB commits at once, so it is undone by hand."""
    with connections[alias].cursor() as cursor:
        cursor.execute(do)
        try:
            yield
        finally:
            cursor.execute(undo)


def drop(alias: str, name: str, table: str) -> str:
    on = f" ON {table}" if connections[alias].vendor == "mysql" else ""
    return f"DROP INDEX {name}{on}"


def test_a_migrated_database_has_nothing_missing_and_nothing_more(vendor_alias: str) -> None:
    found = audit(vendor_alias, *NAMES, "jobs.Job", "jobs.Application", "jobs.SavedJob")
    kinds = {finding.kind for finding in found.findings}
    assert kinds <= {FindingKind.REDUNDANT, FindingKind.PREFIX}
    assert found.indexes


def test_the_redundant_of_the_documented(vendor_alias: str) -> None:
    found = told(
        audit(vendor_alias), FindingKind.REDUNDANT, FindingKind.PREFIX, FindingKind.DUPLICATE
    )
    documented = {finding.index for finding in found if finding.documented}
    once = ONCE_ON_MARIADB if connections[vendor_alias].vendor == "mysql" else set()
    assert documented == REDUNDANT - once
    assert {finding.severity for finding in found} == {Severity.INFO}


def test_missing(vendor_alias: str) -> None:
    do = drop(vendor_alias, STATUS, PAYMENTS)
    with changed(vendor_alias, do, f"CREATE INDEX {STATUS} ON {PAYMENTS} (status)"):
        (finding,) = told(audit(vendor_alias), FindingKind.MISSING)
    assert finding.index == STATUS
    assert finding.severity is Severity.ERROR
    assert "migrate" in finding.hint


def test_extra(vendor_alias: str) -> None:
    undo = drop(vendor_alias, "by_hand", PAYMENTS)
    with changed(vendor_alias, f"CREATE INDEX by_hand ON {PAYMENTS} (amount)", undo):
        found = audit(vendor_alias)
    (finding,) = told(found, FindingKind.EXTRA)
    assert finding.index == "by_hand"
    assert "payment.Payment does not declare it" in finding.message


def test_an_extra_one_that_is_redundant_is_told_once(vendor_alias: str) -> None:
    undo = drop(vendor_alias, "by_hand", PAYMENTS)
    with changed(vendor_alias, f"CREATE INDEX by_hand ON {PAYMENTS} (created_at)", undo):
        found = audit(vendor_alias)
    (finding,) = [f for f in found.findings if f.index == "by_hand"]
    assert finding.kind is FindingKind.DUPLICATE
    assert finding.severity is Severity.WARNING
    dropping = {
        "sqlite": "DROP INDEX by_hand in",
        "mysql": f"DROP INDEX by_hand ON {PAYMENTS}",
        "postgresql": "DROP INDEX CONCURRENTLY by_hand",
    }
    assert dropping[connections[vendor_alias].vendor] in finding.hint


def test_renamed(vendor_alias: str) -> None:
    do = drop(vendor_alias, STATUS, PAYMENTS)
    with changed(vendor_alias, do, f"CREATE INDEX {STATUS} ON {PAYMENTS} (status)"):
        undo = drop(vendor_alias, "state", PAYMENTS)
        with changed(vendor_alias, f"CREATE INDEX state ON {PAYMENTS} (status)", undo):
            found = audit(vendor_alias)
    (finding,) = told(found, FindingKind.RENAMED, FindingKind.MISSING, FindingKind.EXTRA)
    assert finding.kind is FindingKind.RENAMED
    assert finding.index == STATUS
    renaming = {
        "sqlite": f"drop state and create {STATUS}",
        "mysql": f"ALTER TABLE {PAYMENTS} RENAME INDEX state TO {STATUS}",
        "postgresql": f"ALTER INDEX state RENAME TO {STATUS}",
    }
    assert renaming[connections[vendor_alias].vendor] in finding.hint


def test_same_name_on_other_columns_is_missing(vendor_alias: str) -> None:
    undo = f"CREATE INDEX {STATUS} ON {PAYMENTS} (status)"
    with (
        changed(vendor_alias, drop(vendor_alias, STATUS, PAYMENTS), undo),
        changed(
            vendor_alias,
            f"CREATE INDEX {STATUS} ON {PAYMENTS} (amount)",
            drop(vendor_alias, STATUS, PAYMENTS),
        ),
    ):
        (finding,) = told(audit(vendor_alias), FindingKind.MISSING)
    assert "(amount)" in finding.message


def test_sizes(vendor_alias: str) -> None:
    found = audit(vendor_alias)
    sizes = found.usage.sizes
    assert sizes[PAYMENTS, STATUS] > 0
    assert all(finding.size for finding in found.findings)


def test_what_the_database_cannot_tell_is_said(vendor_alias: str) -> None:
    notes = " ".join(audit(vendor_alias).notes)
    expected = {
        "sqlite": "SQLite does not count",
        "mysql": "performance_schema is off",
        "postgresql": "only since",
    }
    assert expected[connections[vendor_alias].vendor] in notes


class TestPostgreSQL:
    pytestmark = pytest.mark.django_db(databases=["postgres"])

    def test_invalid(self) -> None:
        with connections["postgres"].cursor() as cursor:
            cursor.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [STATUS]
            )
        found = audit("postgres")
        (finding,) = told(found, FindingKind.INVALID, FindingKind.MISSING, FindingKind.UNUSED)
        assert finding.kind is FindingKind.INVALID
        assert finding.index == STATUS
        assert f"DROP INDEX CONCURRENTLY {STATUS}" in finding.hint

    @pytest.mark.parametrize(
        "statement",
        [
            f"CREATE INDEX other ON {PAYMENTS} USING hash (created_at)",
            f"CREATE INDEX other ON {PAYMENTS} (status text_pattern_ops)",
            f"CREATE INDEX other ON {PAYMENTS} (created_at) WHERE status = 'open'",
            f"CREATE INDEX other ON {PAYMENTS} (lower(status))",
            f"CREATE INDEX other ON {PAYMENTS} (created_at) INCLUDE (amount)",
            f"""CREATE INDEX other ON {PAYMENTS} (status COLLATE "POSIX")""",
            f"CREATE UNIQUE INDEX other ON {PAYMENTS} (job_id, payer_id, id)",
        ],
    )
    def test_another_index_on_the_same_columns_is_not_a_duplicate(self, statement: str) -> None:
        before = {finding.key for finding in audit("postgres").findings}
        with connections["postgres"].cursor() as cursor:
            cursor.execute(statement)
        after = {finding.key for finding in audit("postgres").findings}
        new = after - before
        assert f"extra:{PAYMENTS}:other" in new
        assert not {key for key in new if key.endswith(":other")} - {f"extra:{PAYMENTS}:other"}

    def test_an_index_that_includes_more_makes_the_smaller_redundant(self) -> None:
        with connections["postgres"].cursor() as cursor:
            cursor.execute(f"CREATE INDEX more ON {PAYMENTS} (created_at) INCLUDE (amount)")
        found = told(audit("postgres"), FindingKind.DUPLICATE)
        assert [finding.index for finding in found] == ["payment_pay_created_671024_idx"]


def test_an_unknown_alias() -> None:
    found = audit("nowhere")
    assert found.findings == ()
    (problem,) = found.problems
    assert "no database 'nowhere'" in problem
    assert "default" in problem
