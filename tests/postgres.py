"""A PostgreSQL server of a test run's own, on a socket in a folder in memory; nobody else reaches it.

It starts when the first test wants it, one a worker, and goes when the run ends, however it ends. Where the machine has
no PostgreSQL, the tests that want one are skipped, and say so in one line.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from reconciler.core.endpoint import JournalUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

USER: Final = "tester"
SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    # The machine does not crash while a test runs, only the server does.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def binaries() -> Path | None:
    """Return the folder of the newest server's programs, as Debian, Homebrew and others have them."""
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else []
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        places += sorted(Path("/").glob(pattern), key=lambda path: [int(one) for one in re.findall(r"\d+", str(path))])
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


def execute(url: JournalUrl, *statements: str) -> list[tuple[Any, ...]]:
    """Execute statements, each in a transaction of its own; return the rows of the last one."""
    import psycopg

    with psycopg.connect(url.text, autocommit=True, options="-c search_path=glider_reconciler,public") as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement.encode())
        return cursor.fetchall() if cursor.description is not None else []


@dataclass
class Server:
    """A running server; ``folder`` holds its socket and its data."""

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str, *, user: str = USER, folder: Path | None = None, **parameters: str) -> JournalUrl:
        """Return the URL of a database, by the socket in this or another folder."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return JournalUrl(f"postgresql:///{database}?host={folder or self.folder}&user={user}{more}")

    def database(self) -> JournalUrl:
        """Make an empty database, and return its URL."""
        name = f"d{next(self._numbers)}"
        execute(self.url("postgres"), f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def start(self) -> None:
        """Start it, and return when it answers."""
        given = [text for name, value in SETTINGS.items() for text in ("-c", f"{name}={value}")]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder), *given]
        self.process = subprocess.Popen(
            [*_as_nobody_special(), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder
        )
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder)]
        for _ in range(600):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
                break
        pytest.fail(f"PostgreSQL does not start in {self.folder}")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it at once, as a machine that is restarted does; SIGINT lets it tell those who are connected."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None


def _as_nobody_special() -> list[str]:
    """Return what a command begins with to run as somebody who is not root, and to end when this process does."""
    command = []
    if sys.platform == "linux" and shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "QUIT"]
        if os.geteuid() == 0:
            command += ["--reuid", str(_owner().pw_uid), "--regid", str(_owner().pw_gid), "--clear-groups"]
    return command


def _owner() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return pwd.getpwuid(os.geteuid())


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server in a folder of its own; skip where there is none, or where it would run as root."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'glider-reconciler[postgres]'")
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine: its tests are left out (docs/testing.md)")
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("PostgreSQL does not run as root: its tests are left out (docs/testing.md)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Server(folder, programs)
    try:
        if os.geteuid() == 0:
            os.chown(folder, _owner().pw_uid, _owner().pw_gid)
            if subprocess.run([*_as_nobody_special(), "test", "-x", str(folder)], check=False).returncode != 0:
                pytest.skip(f"only root may enter {folder.parent}, so PostgreSQL can't: its tests are left out")
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8"]
        initdb += ["--locale=C", "--no-sync", "--no-instructions"]
        subprocess.run([*_as_nobody_special(), *initdb], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
