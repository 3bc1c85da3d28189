"""A PostgreSQL that has HypoPG: the system's, since no Python package brings the extension."""

from __future__ import annotations

from pathlib import Path

from tests.servers import PostgreSQL


class HypoPG(PostgreSQL):
    """The newest installed PostgreSQL whose extensions include HypoPG."""

    name = "hypopg"
    title = "PostgreSQL with HypoPG"
    hint = "apt-get install '^postgresql-[0-9]+-hypopg$'"

    def program(self) -> Path | None:
        """Return the server beside which HypoPG is installed."""
        found = sorted(Path("/usr/share/postgresql").glob("*/extension/hypopg.control"))
        versions = [path.parents[1].name for path in found]
        programs = [Path(f"/usr/lib/postgresql/{version}/bin/postgres") for version in versions]
        return next((program for program in reversed(programs) if program.exists()), None)
