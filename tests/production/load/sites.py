"""The marketplace behind gunicorn or uvicorn, each with several processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.production.load.clients import ask
from tests.production.load.telemetry import FOLDER
from tests.production.load.urls import WORKER

ROOT = Path(__file__).parents[3]
WORKERS = 4
COMMANDS = {
    # Neither is to end a worker because a busy machine makes it slow. So long uvicorn may wait for
    # one that was killed while it was asked whether it lives.
    "gunicorn": "gunicorn marketplace.wsgi:application --bind unix:{socket} --timeout 120",
    "uvicorn": "uvicorn marketplace.asgi:application --uds {socket} --lifespan off "
    "--no-access-log --timeout-worker-healthcheck 15",
}


class Site:
    """One server; it is at ``socket``, and ``folder`` has what its processes leave."""

    def __init__(self, server: str, environment: Mapping[str, str], folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.log = folder / "log"
        self.shared = folder / "prometheus"
        self.shared.mkdir()
        self.environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'testproject'}",
            "DJANGO_SETTINGS_MODULE": "tests.production.load.settings",
            "PROMETHEUS_MULTIPROC_DIR": str(self.shared),
            "MARKETPLACE_OTHER_DB": str(folder / "other.sqlite3"),
            FOLDER: str(folder),
        }
        self._command = COMMANDS[server].format(socket=self.socket).split()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until each worker answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._command, f"--workers={WORKERS}"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 120
        workers: set[str] = set()
        while len(workers) < WORKERS:
            assert self._process.poll() is None, self.told()
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.05)
            with contextlib.suppress(OSError):  # it does not listen yet
                _, headers, _ = ask(self.socket, "GET", "/metrics")
                workers.add(headers[WORKER])

    @property
    def is_running(self) -> bool:
        """Whether it was started and not yet ended."""
        return self._process is not None

    def stop(self) -> None:
        """Let all processes end by themselves."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            finally:
                self._process.kill()
                self._process = None

    def told(self) -> str:
        """Return what it printed."""
        return self.log.read_text(errors="replace")[-5000:]

    def manage(self, *arguments: str) -> str:
        """Run ``manage.py`` with the site's settings; return what it printed."""
        # As another host has it: what is read there is not of the server's processes.
        environment = {
            name: value
            for name, value in self.environment.items()
            if name != "PROMETHEUS_MULTIPROC_DIR"
        }
        done = subprocess.run(
            [sys.executable, ROOT / "testproject" / "manage.py", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def serving(server: str, environment: Mapping[str, str]) -> Iterator[Site]:
    """Serve the marketplace; end it with the block."""
    # Not pytest's folder: a socket's path has a limit of about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="querybudget-load-") as folder:
        site = Site(server, environment, Path(folder))
        try:
            site.start()
            yield site
        finally:
            site.stop()
