"""A server that only these tests need, beside those of the whole suite."""

from __future__ import annotations

from pathlib import Path

from tests.servers import PostgreSQL


class CountingPostgreSQL(PostgreSQL):
    """The system's newest PostgreSQL, counting its statements: the package's has no extension."""

    name = "postgres-counting"
    title = "PostgreSQL with pg_stat_statements"
    hint = "apt-get install postgresql"

    def program(self) -> Path | None:
        """Return the newest server that has the extension."""
        found = Path("/usr/share/postgresql").glob("*/extension/pg_stat_statements.control")
        versions = sorted((path.parents[1].name for path in found), key=int)
        programs = [Path(f"/usr/lib/postgresql/{version}/bin/postgres") for version in versions]
        return next((program for program in reversed(programs) if program.exists()), None)

    def command(self) -> list[str]:
        """Serve as the suite's does, and count."""
        return [*super().command(), "-c", "shared_preload_libraries=pg_stat_statements"]
