"""A primary, its replica, and a Sentinel that promotes the replica when the primary is gone.

They speak TCP to one another, since neither replication nor Sentinel knows Unix sockets.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import redis

from tests.servers import Redis, Run

PATIENCE = 60.0


class OwnSentinel:
    """Three processes of one test's own."""

    def __init__(self, folder: Path) -> None:
        self.program = str(Redis(Run(owner=os.getpid(), folder=folder))._program())
        self.folder = folder
        self.primary, self.replica, self.sentinel = (_free_port() for _ in range(3))
        # A name of its own: django-redis keeps its connections by URL, for the whole process.
        self.service = f"main-{self.sentinel}"
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        memory = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
        self._run(self.primary, [*memory, "--repl-diskless-sync-delay", "0"])
        self._run(self.replica, [*memory, "--replicaof", "127.0.0.1", str(self.primary)])
        self._wait(lambda: self._info(self.replica)["master_link_status"] == "up")
        configuration = self.folder / "sentinel.conf"
        configuration.write_text(
            f"bind 127.0.0.1\n"
            f"sentinel monitor {self.service} 127.0.0.1 {self.primary} 1\n"
            f"sentinel down-after-milliseconds {self.service} 500\n"
            f"sentinel failover-timeout {self.service} 10000\n"
        )
        self._run(self.sentinel, ["--sentinel"], str(configuration))
        self._wait(self._knows_the_replica)

    def fail_over(self) -> None:
        """Kill the primary; return when Sentinel has promoted the replica."""
        process = self.processes[self.primary]
        process.kill()
        process.wait()
        self._wait(lambda: self._info(self.replica)["role"] == "master")
        self._wait(lambda: self._where_is_the_primary() == self.replica)

    def replicated(self) -> None:
        """Return when the replica has all that the primary has."""
        with redis.Redis(port=self.primary) as client:
            assert client.wait(1, int(PATIENCE * 1000)) == 1

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _run(self, port: int, options: list[str], *configuration: str) -> None:
        command = [self.program, *configuration, "--port", str(port), "--dir", str(self.folder)]
        with (self.folder / f"{port}.log").open("wb") as log:
            self.processes[port] = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        self._wait(lambda: _ping(port))

    def _info(self, port: int) -> Any:
        with redis.Redis(port=port) as client:
            return client.info("replication")

    def _knows_the_replica(self) -> bool:
        with redis.Redis(port=self.sentinel) as client:
            return len(client.sentinel_slaves(self.service)) == 1

    def _where_is_the_primary(self) -> int:
        with redis.Redis(port=self.sentinel) as client:
            return int(client.sentinel_get_master_addr_by_name(self.service)[1])

    def _wait(self, done: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, self._logs()
            time.sleep(0.05)

    def _logs(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))


def _ping(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
