"""A Redis that a test may stop and start, or cut off from everyone."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import redis

from tests.servers import Redis, Run


class OwnRedis:
    """A Redis of one test's own, which it may stop, or cut off."""

    def __init__(self, folder: Path) -> None:
        self.server = Redis(Run(owner=os.getpid(), folder=folder))
        self.server.folder.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while not self.server.is_ready():
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.02)

    def stop(self, *, keep: bool) -> None:
        """Stop it; with ``keep``, it will come back with all that it held."""
        assert self.process is not None
        dump = self.server.folder / "dump.rdb"
        if keep:
            with redis.Redis(unix_socket_path=self.server.socket) as client:
                client.save()
        self.process.kill()
        self.process.wait()
        if not keep:
            dump.unlink(missing_ok=True)
        Path(self.server.socket).unlink(missing_ok=True)

    def cut(self) -> None:
        """Let no one reach it; it keeps running, with all that it holds."""
        with redis.Redis(unix_socket_path=self.server.socket) as client:
            client.ping()  # connected: the socket can go
            Path(self.server.socket).rename(self._away)
            client.client_kill_filter(_type="normal", skipme=True)

    def restore(self) -> None:
        """Undo :meth:`cut`."""
        self._away.rename(self.server.socket)

    @property
    def _away(self) -> Path:
        return Path(f"{self.server.socket}.away")
