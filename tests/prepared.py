"""Processes of the program that need not wait for an interpreter: one that has imported everything forks for each.

Such a process is a real one: it has a number, signals reach it, it dies by them, its files and limits are its own. It
does not show how an interpreter starts, so tests of imports, of the key among the arguments and of streams that were
closed before the start use ``subprocess``, and the action runs each of its commands once without it.

In: a command line that begins with an interpreter. Out: what ``subprocess.Popen`` gives, as far as tests use it. Run as
a program, this module is the interpreter that forks; it ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
LAZY = (
    "anyio._backends._asyncio",
    "deepdiff",
    "h11",
    "httpx2",
    "jinja2",
    "jsonschema",
    "jsonschema_rs",
    "starlette.applications",
    "uvicorn",
    "venv",
)
"""What commands import where they need it."""
HEAD_BYTES = 8
CLOSED = -100


@cache
def _forker() -> socket.socket:
    """Start the interpreter that forks, the first time that a process is wanted; return the way to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.prepared", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the tests is not for it
        ).returncode = 0  # nobody waits for it
    return ours


class Process:
    """A command that runs in a fork of the prepared interpreter; the names and their meaning are those of ``Popen``.

    A stream is ``subprocess.PIPE`` or a file descriptor, without one ``stdin`` is empty, and :data:`CLOSED` stands for
    one that was closed before the start. ``file_bytes`` bounds every file that the process writes, ``files`` how many
    it may have open.
    """

    stdin = None

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: str | Path,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        start_new_session: bool = False,
        file_bytes: int | None = None,
        files: int | None = None,
        errors: str = "strict",
    ) -> None:
        sys.audit("subprocess.Popen", args[0], args, str(cwd), env)
        self.args = list(args)
        self.returncode: int | None = None
        self._said: tuple[str, str] | None = None
        request = {
            "arguments": self.args[1:],
            "folder": str(cwd),
            "environment": dict(env),
            "session": start_new_session,
            "file_bytes": file_bytes,
            "files": files,
            "closed": [number for number, given in enumerate((stdin, stdout, stderr)) if given == CLOSED],
        }
        body = json.dumps(request).encode()
        self._status, theirs = socket.socketpair()
        source = os.open(os.devnull, os.O_RDONLY) if stdin in (subprocess.DEVNULL, CLOSED) else os.dup(stdin)
        self.stdout, out = _stream(stdout, errors)
        self.stderr, err = _stream(stderr, errors)
        socket.send_fds(_forker(), [len(body).to_bytes(HEAD_BYTES, "big")], [source, out, err, theirs.fileno()])
        _forker().sendall(body)
        theirs.close()
        for handed_over in (source, *(fd for fd, given in ((out, stdout), (err, stderr)) if given == subprocess.PIPE)):
            os.close(handed_over)
        told = self._status.recv(HEAD_BYTES)
        assert told, "the prepared interpreter has ended: what it said stands on the standard error of the tests"
        self.pid = int(told)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; nothing while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises TimeoutExpired after so many seconds."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.recv(HEAD_BYTES))
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read what is left of both streams, and wait for the end. Raises TimeoutExpired, after so many seconds."""
        if self._said is None:
            said = {"stdout": "", "stderr": ""}
            deadline = None if timeout is None else time.monotonic() + timeout

            def read(name: str, stream: IO[str]) -> None:
                with stream:
                    said[name] = stream.read()

            streams = [(name, getattr(self, name)) for name in said]
            readers = [
                threading.Thread(target=read, args=one, daemon=True) for one in streams if one[1] and not one[1].closed
            ]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
                if reader.is_alive():
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            self._said = said["stdout"], said["stderr"]
        return self._said

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def run(args: Sequence[str], *, timeout: float = 60, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, at most ``timeout`` seconds."""
    process = Process(args, **how)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _stream(given: int, errors: str) -> tuple[IO[str] | None, int]:
    """Return the end that is read here, if any, and the one for the process."""
    if given == subprocess.PIPE:
        read, write = os.pipe()
        return open(read, encoding="utf-8", errors=errors), write  # noqa: PTH123 -- a descriptor
    return None, os.open(os.devnull, os.O_WRONLY) if given in (subprocess.DEVNULL, CLOSED) else given


def _serve(way: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each request and say how each process ends; return in every fork, with the request and its streams."""
    running: dict[int, socket.socket] = {}
    heard, hear = os.pipe()
    os.set_blocking(hear, False)
    signal.set_wakeup_fd(hear)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([way, heard], [], [])
        if heard in ready:
            os.read(heard, 4096)
            _reap(running)
        if way not in ready:
            continue
        head, handed, _, _ = socket.recv_fds(way, HEAD_BYTES, 4)
        if not head:
            os._exit(0)
        body = bytearray()
        while len(body) < int.from_bytes(head, "big"):
            body += way.recv(65536)
        if (pid := os.fork()) == 0:
            return json.loads(body), handed
        status = socket.socket(fileno=handed.pop())
        for stream in handed:
            os.close(stream)
        running[pid] = status
        status.sendall(f"{pid:{HEAD_BYTES}}".encode())


def _reap(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as told, contextlib.suppress(OSError):  # whoever asked for it may not listen any more
            told.sendall(f"{os.waitstatus_to_exitcode(status):{HEAD_BYTES}}".encode())


def _become(request: dict[str, Any], handed: list[int]) -> None:
    """Make this fork what a new interpreter would be, but for what it has imported."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, given in enumerate(handed[:3]):
        os.dup2(given, number)
    os.closerange(3, 1024)  # the interpreter that forks never has more
    if request["session"]:
        os.setsid()
    if (bound := request["file_bytes"]) is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound))
    if (most := request["files"]) is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 -- a descriptor that stays open
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = open(number, "wb", closefd=False)  # noqa: SIM115 -- a descriptor that stays open
        lines = name == "stderr" or os.isatty(number)
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=lines)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)  # keeps it open when the program puts its own in front of it
    for number in request["closed"]:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)  # as an interpreter has it


def _start(arguments: list[str]) -> None:
    """Run what the arguments of an interpreter say: a module, a text or a file."""
    import runpy

    isolated = arguments[0] == "-I"
    while arguments[0] in ("-I", "-X"):
        del arguments[: 2 if arguments[0] == "-X" else 1]
    sys.path[:1] = [] if isolated else [str(Path.cwd())]
    match arguments:
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", text, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})
        case _:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")


def _prepare() -> None:
    """Import the whole program, and what it imports only where it is needed."""
    import gc

    import reconciler

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
    _work_out()
    gc.freeze()  # a collection in a fork would copy all of it


def _work_out() -> None:
    """Make what nearly every command makes once, always the same: it takes 30 ms, and there are a thousand forks."""
    from reconciler.config.check import conforms
    from reconciler.core.codec import _moments_in
    from reconciler.core.plan import Plan
    from reconciler.core.sections import AUTOMATION_FIELDS

    conforms({}, AUTOMATION_FIELDS)
    _moments_in(Plan)


if __name__ == "__main__":
    _prepare()
    asked, streams = _serve(socket.socket(fileno=int(sys.argv[1])))
    _become(asked, streams)
    _start(asked["arguments"])
