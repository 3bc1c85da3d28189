"""Servers that only these tests need, beside those of the whole suite."""

from __future__ import annotations

from pathlib import Path

from tests.servers import MariaDB, PostgreSQL


class HypoPG(PostgreSQL):
    """The newest installed PostgreSQL that has HypoPG; no Python package brings the extension."""

    name = "hypopg"
    title = "PostgreSQL with HypoPG"
    hint = "apt-get install '^postgresql-[0-9]+-hypopg$'"

    def program(self) -> Path | None:
        """Return the server beside which HypoPG is installed."""
        found = sorted(Path("/usr/share/postgresql").glob("*/extension/hypopg.control"))
        versions = [path.parents[1].name for path in found]
        programs = [Path(f"/usr/lib/postgresql/{version}/bin/postgres") for version in versions]
        return next((program for program in reversed(programs) if program.exists()), None)


class CountingMariaDB(MariaDB):
    """A MariaDB that counts the use of its indexes, which it does not do by default."""

    name = "mariadb-counting"
    title = "MariaDB with performance_schema"

    def command(self) -> list[str]:
        """Serve as the suite's does, and count."""
        return [*super().command(), "--performance-schema=ON"]
