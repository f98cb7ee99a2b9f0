"""A PostgreSQL server of a test run's own, on a socket in a folder in memory; nobody else reaches it.

It starts when the first test wants it, one a worker, and goes when the run ends, however it ends. Where the machine has
no PostgreSQL, the tests that want one are skipped, and say so in one line.
"""

from __future__ import annotations

import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

from reconciler.core.endpoint import JournalUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

USER: Final = "tester"
SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    # The machine does not crash while a test runs, only the server does.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "64MB",  # the folder is in memory
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
    _made: list[str] = field(default_factory=list)
    _admin: psycopg.Connection[tuple[Any, ...]] | None = None

    def url(
        self, database: str, *, user: str = USER, folder: Path | str | None = None, **parameters: str
    ) -> JournalUrl:
        """Return the URL of a database, by the socket in this or another folder."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return JournalUrl(f"postgresql:///{database}?host={folder or self.folder}&user={user}{more}")

    def database(self) -> JournalUrl:
        """Make an empty database, and return its URL."""
        name = f"d{next(self._numbers)}"
        admin = self._connected()
        # From version 15 on, its pages would else go through the log one by one, which takes twice the time.
        how = " STRATEGY FILE_COPY" if admin.info.server_version >= 150_000 else ""
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0{how}".encode())
        self._made.append(name)
        return self.url(name)

    def drop_databases(self) -> None:
        """Drop every database that was made: each takes 8 MB of memory."""
        while self._made and self.process is not None:
            self._connected().execute(f"DROP DATABASE {self._made.pop()} WITH (FORCE)".encode())

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return the one connection that makes and drops databases: to connect takes as long as either."""
        import psycopg

        if self._admin is None:
            self._admin = psycopg.connect(self.url("postgres").text, autocommit=True)
        return self._admin

    def user(self, password: str, name: str | None = None) -> tuple[JournalUrl, str]:
        """Make an empty database, and a user who owns it and needs this password; return the URL with that user."""
        place = self.database()
        name = name or f"guarded{next(self._numbers)}"
        database = place.text.partition("///")[2].partition("?")[0]
        with suppress(Exception):  # there already
            execute(self.url("postgres"), "CREATE ROLE guarded NOLOGIN")
        execute(
            self.url("postgres"),
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE guarded",
            f"ALTER DATABASE {database} OWNER TO {name}",
        )
        return self.url(database, user=name), name

    def call(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL as the server's user."""
        command = [*_as_nobody_special(), str(self.programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> None:
        """Start it, and return when it answers; in the main thread, because it ends with the thread that started it."""
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
        if self._admin is not None:
            self._admin.close()
            self._admin = None
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
    with _in_own_folder(programs) as server:
        made = ["initdb", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        server.call(*made, "-D", str(server.folder / "data"))
        access = server.folder / "data" / "pg_hba.conf"
        access.write_text(f"local all +guarded scram-sha-256\n{access.read_text(encoding='utf-8')}", encoding="utf-8")
        server.start()
        yield server


@contextmanager
def replica_of(server: Server) -> Iterator[Server]:
    """Start a hot standby of a server."""
    with _in_own_folder(server.programs) as replica:
        source = ["-h", str(server.folder), "-U", USER, "--checkpoint=fast", "--no-sync", "--write-recovery-conf"]
        replica.call("pg_basebackup", *source, "-D", str(replica.folder / "data"))
        replica.start()
        yield replica


@contextmanager
def _in_own_folder(programs: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Server(folder, programs)
    try:
        if os.geteuid() == 0:
            os.chown(folder, _owner().pw_uid, _owner().pw_gid)
            if subprocess.run([*_as_nobody_special(), "test", "-x", str(folder)], check=False).returncode != 0:
                pytest.skip(f"only root may enter {folder.parent}, so PostgreSQL can't: its tests are left out")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


ASKS_FOR_ENCRYPTION: Final = 8
"""The bytes of a message by which a client on a port asks for encryption; what begins a session is longer."""
READY: Final = b"Z\x00\x00\x00\x05"
"""How the server's last message of an answer begins (PostgreSQL docs, "Message Formats"); one byte follows."""


class Proxy:
    """Stands before a server, counts what its clients send, and cuts a connection where it is told to.

    ``sent`` are the letters of the clients' messages so far, over all connections; the first message of each has none,
    so it is a space. ``trips`` counts how often a client waited for an answer. The message of number ``cut_before`` is
    not passed on; that of number ``cut_after`` is, but the answer to its batch is not. With ``loopback`` it listens on
    a port of this machine instead of a socket in its folder. While it ``is_silent``, it passes nothing on to
    anybody, and counts what is ``ignored``.
    """

    def __init__(
        self, server: Server, *, cut_before: int | None = None, cut_after: int | None = None, loopback: bool = False
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self.sent, self.trips, self.is_silent, self.ignored = "", 0, False, 0
        self._server, self._before, self._after = server, cut_before, cut_after
        self._listener = socket.socket(socket.AF_INET if loopback else socket.AF_UNIX)
        self._listener.bind(("127.0.0.1", 0) if loopback else str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    @property
    def port(self) -> str:
        """The port of ``loopback``."""
        return str(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        """Take no more connections, and return when those that are open have ended."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        shutil.rmtree(self.folder)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(str(self._server.folder / ".s.PGSQL.5432"))
            rest, first, swallows, asks = b"", True, False, False
            while True:
                ready, _, _ = select.select([client] if self.is_silent else [client, server], [], [])
                if client in ready:
                    part = client.recv(65_536)
                    if not part:
                        return
                    if self.is_silent:
                        self.ignored += 1
                        continue
                    self.trips += not asks
                    asks, rest = True, rest + part
                    while (message := _first_message(rest, first=first)) is not None:
                        number, self.sent = len(self.sent), self.sent + (" " if first else chr(message[0]))
                        if number == self._before:
                            return
                        swallows = swallows or number == self._after
                        server.sendall(message)
                        rest = rest[len(message) :]
                        first = first and len(message) == ASKS_FOR_ENCRYPTION
                if server in ready and not self.is_silent:
                    part = server.recv(65_536)
                    if not part or (swallows and part[-6:-1] == READY):
                        return
                    asks = False
                    if not swallows:
                        client.sendall(part)


def _first_message(sent: bytes, *, first: bool) -> bytes | None:
    """Return the first whole message of what a client sent; only its very first one does not begin with a letter."""
    head = 4 if first else 5
    length = head - 4 + int.from_bytes(sent[head - 4 : head], "big")
    return sent[:length] if len(sent) >= max(head, length) else None
