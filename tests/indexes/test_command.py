"""``manage.py querybudget indexes``: output, exit codes, baseline and databases that fail."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.utils import load_backend
from psycopg import sql

from django_querybudget.indexes.introspection import read_snapshot
from tests.indexes.documented import REDUNDANT
from tests.indexes.planted.project import Shop

pytestmark = pytest.mark.django_db


def indexes(*arguments: str) -> str:
    out = io.StringIO()
    call_command("querybudget", "indexes", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def refused(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        indexes(*arguments)
    return caught.value


def test_a_subcommand_is_needed() -> None:
    with pytest.raises(CommandError, match="SUBCOMMAND"):
        call_command("querybudget")


class TestOutput:
    def test_for_people(self) -> None:
        output = indexes()
        assert output.startswith("default (sqlite): ")
        assert "11 redundant" in output
        assert "accounts_cu_email_5ce40b_idx" in output
        assert "unique=True already gives" in output
        assert "index_skip_redundant = True" in output

    def test_every_index(self) -> None:
        lines = indexes("--list", "payment").splitlines()
        assert lines[2].split() == ["table", "index", "columns", "size", "reads"]
        (line,) = [each for each in lines if " status, created_at " in each]
        assert line.split()[:2] == ["payment_payment", "payment_pay_status_19fbf4_idx"]
        assert line.endswith("KB")

    def test_json(self) -> None:
        told = json.loads(indexes("--json"))
        assert told["version"] == 1
        (database,) = told["databases"]
        redundant = {f["index"] for f in database["findings"] if f["index"].endswith("_idx")}
        assert redundant == REDUNDANT
        by_name = {index["name"]: index for index in database["indexes"]}
        composite = by_name["payment_pay_status_19fbf4_idx"]
        assert composite["columns"] == ["status", "created_at"]
        assert composite["size"] > 0
        assert composite["valid"] is True

    def test_one_app(self) -> None:
        (database,) = json.loads(indexes("--json", "rating"))["databases"]
        assert {finding["model"] for finding in database["findings"]} == {"rating.Review"}

    def test_ignored(self, settings: Any) -> None:
        settings.QUERYBUDGET = {
            "INDEXES": {
                "IGNORE": ["accounts.*", "jobs.*", "payment_pay_*", "rating.Review", "hosts.*"]
            }
        }
        (database,) = json.loads(indexes("--json"))["databases"]
        assert database["findings"] == []

    def test_third_party_models_when_asked(self) -> None:
        def tables(*arguments: str) -> set[str]:
            (database,) = json.loads(indexes("--json", *arguments))["databases"]
            return {index["table"] for index in database["indexes"]}

        assert "auth_permission" not in tables()
        assert "auth_permission" in tables("--third-party")


class TestExitCodes:
    @pytest.mark.parametrize("what", ["any", "info", "redundant", "unused, prefix"])
    def test_fail_on(self, what: str) -> None:
        error = refused("--fail-on", what)
        assert error.returncode == 1
        assert "--fail-on" in str(error)

    @pytest.mark.parametrize("what", ["", "error", "warning", "missing,unused"])
    def test_nothing_of_that_kind(self, what: str) -> None:
        indexes("--fail-on", what)

    def test_an_unknown_word(self) -> None:
        error = refused("--fail-on", "missing,redundent")
        assert error.returncode == 2
        assert "'redundent'" in str(error)
        assert "redundant" in str(error)

    def test_an_unknown_app(self) -> None:
        error = refused("nosuchapp")
        assert error.returncode == 2
        assert "nosuchapp" in str(error)

    def test_an_unknown_database(self) -> None:
        error = refused("--database", "nowhere")
        assert error.returncode == 2
        assert "no database 'nowhere'" in str(error)


class TestBaseline:
    def test_what_it_knows_is_not_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "indexes.json"
        indexes("--baseline", str(path), "--write-baseline")
        assert "nothing to report" in indexes("--baseline", str(path), "--fail-on", "any")

    def test_what_is_new_is(self, tmp_path: Path) -> None:
        path = tmp_path / "indexes.json"
        indexes("--baseline", str(path), "--write-baseline")
        with connections["default"].cursor() as cursor:
            cursor.execute("CREATE INDEX by_hand ON payment_payment (amount)")
        error = refused("--baseline", str(path), "--fail-on", "any")
        assert "1 findings" in str(error)

    def test_what_is_gone_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "indexes.json"
        with connections["default"].cursor() as cursor:
            cursor.execute("CREATE INDEX by_hand ON payment_payment (amount)")
        indexes("--baseline", str(path), "--write-baseline")
        with connections["default"].cursor() as cursor:
            cursor.execute("DROP INDEX by_hand")
        err = io.StringIO()
        call_command("querybudget", "indexes", baseline=path, stdout=io.StringIO(), stderr=err)
        assert "default/extra:payment_payment:by_hand" in err.getvalue()

    def test_no_file(self, tmp_path: Path) -> None:
        error = refused("--baseline", str(tmp_path / "none.json"))
        assert "no baseline file" in str(error)
        assert "--write-baseline" in str(error)

    @pytest.mark.parametrize("content", ["", "[]", '{"version": 9}', '{"version": 1}', "\x00"])
    def test_no_baseline(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "indexes.json"
        path.write_text(content)
        assert str(path) in str(refused("--baseline", str(path)))

    def test_write_needs_a_name(self) -> None:
        assert "--baseline FILE" in str(refused("--write-baseline"))


class TestDatabasesThatFail:
    """What cannot be audited is told, and the rest of the audit still runs."""

    def test_the_others_are_audited(self, sqlite_shop: Shop, tmp_path: Path) -> None:
        sqlite_shop.plant()
        gone = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "gone",
            "HOST": str(tmp_path / "no-socket"),
        }
        foreign = {
            "ENGINE": "tests.indexes.unsupported_backend",
            "NAME": str(tmp_path / "foreign.sqlite3"),
        }
        driverless = {"ENGINE": "no.such.backend", "NAME": "x"}
        more = json.dumps({"gone": gone, "foreign": foreign, "driverless": driverless})
        output = sqlite_shop.manage(
            *("querybudget", "indexes", "--json", "--database", "gone"),
            *("--database", "foreign", "--database", "default", "--database", "driverless"),
            code=2,
            PLANTED_MORE_DATABASES=more,
        )
        databases = {each["alias"]: each for each in json.loads(output)["databases"]}
        assert "could not be audited" in databases["gone"]["problems"][0]
        assert "reachable" in databases["gone"]["problems"][0]
        assert "'foreign': indexes can be read on PostgreSQL" in databases["foreign"]["problems"][0]
        assert "no.such.backend" in databases["driverless"]["problems"][0]
        assert databases["default"]["problems"] == []
        assert len(databases["default"]["findings"]) == 6

    def test_tables_that_are_not_there(self, sqlite_shop: Shop) -> None:
        output = sqlite_shop.manage("querybudget", "indexes")
        assert "nothing to report" in output
        assert "shop_customer" in output
        assert "manage.py migrate --database default" in output

    def test_a_user_without_rights_on_postgresqls_statistics(
        self, postgres_shop: Shop, postgres_url: str
    ) -> None:
        postgres_shop.plant()
        entry = json.loads(postgres_shop.environment["PLANTED_DATABASE"])
        role = sql.Identifier(f"auditor_{entry['NAME']}")
        connection: psycopg.Connection[Any]
        with psycopg.connect(postgres_url, dbname=entry["NAME"], autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            connection.execute("REVOKE SELECT ON pg_stat_user_indexes FROM PUBLIC")
            try:
                mine = json.dumps({**entry, "USER": f"auditor_{entry['NAME']}"})
                output = postgres_shop.manage(
                    "querybudget", "indexes", "--json", PLANTED_DATABASE=mine
                )
            finally:
                connection.execute(sql.SQL("DROP ROLE {}").format(role))
        (database,) = json.loads(output)["databases"]
        assert database["problems"] == []
        assert "pg_stat_user_indexes" in " ".join(database["notes"])
        assert "pg_read_all_stats" in " ".join(database["notes"])
        assert {f["kind"] for f in database["findings"]} == {
            "redundant",
            "duplicate",
            "prefix",
            "unindexed-foreign-key",
        }

    @pytest.mark.django_db(databases=["mariadb"])
    def test_a_user_without_rights_on_mariadbs_statistics(self) -> None:
        root = connections["mariadb"]
        with root.cursor() as cursor:
            cursor.execute("CREATE USER auditor IDENTIFIED BY 'secret'")
            cursor.execute(f"GRANT SELECT ON `{root.settings_dict['NAME']}`.* TO auditor")
        entry = {**root.settings_dict, "USER": "auditor", "PASSWORD": "secret"}
        connection = load_backend(entry["ENGINE"]).DatabaseWrapper(entry, alias="auditor")
        connections["auditor"] = connection
        try:
            snapshot = read_snapshot(connection, ["payment_payment"])
        finally:
            connection.close()
            del connections["auditor"]
            with root.cursor() as cursor:
                cursor.execute("DROP USER auditor")
        names = {index.definition.name for index in snapshot.indexes}
        assert "payment_pay_status_124d3d_idx" in names
        (note,) = snapshot.usage.notes
        assert "could not be read" in note
        assert "innodb_index_stats" in note
