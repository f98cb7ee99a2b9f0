"""Output that nobody reads, or that can't be written: a write to Glider goes on, and data that is lost is an error."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.main import run
from reconciler.cli.streams import Lasting, failure_of, is_lost
from tests import prepared
from tests.cli.conftest import load
from tests.cli.test_cli_processes import COMMAND, call, environment, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

pytestmark = pytest.mark.slow

MANY = 25
"""Enough for a progress bar."""
DONE = f"Plan: 0 to start, 0 to resume, 0 to pause, 0 to update. {MANY} unchanged, 0 held, 0 blocked."


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A folder whose files pause every portfolio of a sandbox."""
    names = [f"p{number:03}" for number in range(MANY)]
    live = "".join(f"  {name}: {{status: active, interval: 24h, started: 10d}}\n" for name in names)
    files = "".join(f"  {name}: {{state: paused}}\n" for name in names)
    (tmp_path / "seed.yaml").write_text(f"version: 1\nportfolios:\n{live}")
    (tmp_path / "automation.yaml").write_text(f"version: 1\nportfolios:\n{files}guards: {{max_pause: 100%}}\n")
    load(tmp_path)
    return tmp_path


@contextlib.contextmanager
def gone() -> Iterator[int]:
    """Yield the write end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@contextlib.contextmanager
def hung_up() -> Iterator[int]:
    """Yield a terminal whose other side was closed: every write fails, and not as one to a pipe does."""
    pty = pytest.importorskip("pty")
    outer, inner = pty.openpty()
    os.close(outer)
    yield inner
    os.close(inner)


@contextlib.contextmanager
def full() -> Iterator[int]:
    """Yield a file on a disk without room."""
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


@contextlib.contextmanager
def fine() -> Iterator[int]:
    """Yield something that takes everything."""
    yield subprocess.PIPE


@contextlib.contextmanager
def closed() -> Iterator[int]:
    """Yield what stands for a stream that was closed before the start."""
    yield prepared.CLOSED


@contextlib.contextmanager
def empty() -> Iterator[int]:
    """Yield something to read that has ended."""
    yield subprocess.DEVNULL


@contextlib.contextmanager
def endless() -> Iterator[int]:
    """Yield something to read that never ends."""
    with Path("/dev/zero").open("rb") as file:
        yield file.fileno()


SINKS = {"gone": gone, "hung_up": hung_up, "full": full, "closed": closed, "fine": fine}
SOURCES = {"gone": gone, "hung_up": hung_up, "endless": endless, "closed": closed, "empty": empty}
"""Nothing can be read from ``gone``, the end of a pipe that takes writes alone."""


def run_into(folder: Path, out: str, err: str, *arguments: str, source: str = "empty") -> CompletedProcess[str]:
    """Run a command whose standard output and error go to these sinks, and whose input comes from this source."""
    with SINKS[out]() as stdout, SINKS[err]() as stderr, SOURCES[source]() as stdin:
        how = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        return prepared.run([*COMMAND, *arguments], cwd=folder, env=environment(TERM="xterm"), **how)


@pytest.mark.parametrize(
    ("out", "err", "arguments"),
    [
        ("gone", "gone", ("-v",)),
        ("gone", "fine", ("-o", "json")),
        ("fine", "gone", ("-v",)),
        ("hung_up", "hung_up", ("-v",)),
        ("full", "full", ("-v",)),
        ("full", "fine", ("-o", "json")),
        ("fine", "full", ("-v", "-o", "json")),
    ],
)
def test_an_apply_goes_on_without_its_output(fleet: Path, out: str, err: str, arguments: tuple[str, ...]) -> None:
    """Every write is done, and the exit code is the apply's own, whatever became of its output."""
    ended = run_into(fleet, out, err, "apply", "--sandbox", "--auto-approve", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert "signal" not in (ended.stderr or "")
    assert call(fleet, "plan", "--sandbox").stdout.splitlines()[-1] == DONE


def test_an_apply_says_that_its_output_is_lost(fleet: Path) -> None:
    """Its own exit code stands, and the loss is told where somebody may read it."""
    ended = run_into(fleet, "full", "fine", "apply", "--sandbox", "--auto-approve", "-o", "json")
    assert (ended.returncode, "the output can't be written: No space left on device" in ended.stderr) == (0, True)


@pytest.mark.parametrize(("out", "err"), [("gone", "fine"), ("fine", "gone"), ("gone", "gone")])
def test_a_refused_apply_keeps_its_exit_code(fleet: Path, out: str, err: str) -> None:
    """A guard refuses with 5, also where nobody hears it."""
    (fleet / "automation.yaml").write_text((fleet / "automation.yaml").read_text().replace("100%", "0"))
    assert run_into(fleet, out, err, "apply", "--sandbox", "--auto-approve").returncode == 5


@pytest.mark.parametrize(
    ("arguments", "read", "lost"),
    [
        (("plan", "--sandbox", "-o", "json"), 0, 1),
        (("plan", "--sandbox", "--detailed-exitcode"), 2, 1),
        (("schema",), 0, 1),
        (("--help",), 0, 1),
        ((), 0, 1),
        (("validate", "-f", "nothing.yaml", "-o", "json"), 3, 3),
    ],
)
def test_a_command_that_only_reads(fleet: Path, arguments: tuple[str, ...], read: int, lost: int) -> None:
    """A reader that has gone is no error and changes no exit code; data that is lost is one, and stays no success."""
    ended = run_into(fleet, "gone", "fine", *arguments)
    assert (ended.returncode, "written" in ended.stderr, "Traceback" in ended.stderr) == (read, False, False)
    ended = run_into(fleet, "full", "fine", *arguments)
    assert (ended.returncode, "the output can't be written" in ended.stderr) == (lost, True)
    assert "internal error" not in ended.stderr


def hang_up(folder: Path, stream: str, *arguments: str) -> int:
    """Run a command with one stream at a terminal that goes away after the first output; return the exit code."""
    pty = pytest.importorskip("pty")
    outer, inner = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: inner}
    process = prepared.Process([*COMMAND, *arguments], cwd=folder, env=environment(TERM="xterm"), **streams)
    os.close(inner)
    os.read(outer, 1)
    os.close(outer)
    return process.wait(timeout=60)


def test_an_apply_goes_on_without_its_progress_bar(fleet: Path) -> None:
    """The terminal of the bar goes away while it is drawn: every write is done, and the exit code says so."""
    assert hang_up(fleet, "stderr", "apply", "--sandbox", "--auto-approve") == 0
    assert call(fleet, "plan", "--sandbox").stdout.splitlines()[-1] == DONE


def test_a_watch_ends_with_its_terminal(fleet: Path) -> None:
    """It does not ask the service for ever when nobody looks."""
    assert hang_up(fleet, "stdout", "status", "--sandbox", "--watch", "2") == 1


def test_streams_that_were_closed_before_the_start(fleet: Path) -> None:
    """No file of ours takes the place of a closed stream, so nothing that is printed ends up in the journal."""
    line = f"exec {' '.join(COMMAND)} apply --sandbox --auto-approve -v <&- >&- 2>&-"
    ended = subprocess.run(["sh", "-c", line], cwd=fleet, env=environment(), check=False, timeout=60)
    assert ended.returncode == 0
    assert call(fleet, "plan", "--sandbox").stdout.splitlines()[-1] == DONE
    assert f"{MANY} confirmed" in call(fleet, "history").stdout


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_everything() -> None:
    """Another program may have made our pipe non-blocking; then we wait as if it had not."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETFL, fcntl.fcntl(write, fcntl.F_GETFL) | os.O_NONBLOCK)
    taken: list[bytes] = []

    def reading() -> None:
        with open(read, "rb") as stream:  # noqa: PTH123 - a descriptor
            taken.append(stream.read())

    reader = threading.Thread(target=reading)
    stream = io.TextIOWrapper(io.BufferedWriter(Lasting(io.FileIO(write, "wb"))), encoding="utf-8")
    reader.start()
    stream.write("x" * 1_000_000)
    stream.close()
    reader.join()
    assert taken == [b"x" * 1_000_000]


def test_what_is_lost_and_what_is_not_wanted() -> None:
    """The first failure is kept; a pipe without a reader loses nothing that anybody wants."""
    with gone() as write:
        stream = io.TextIOWrapper(io.BufferedWriter(Lasting(io.FileIO(write, "wb", closefd=False))))
        stream.write("x")
        assert failure_of(stream) is None
        stream.flush()
        assert isinstance(failure_of(stream), BrokenPipeError)
        assert not is_lost(failure_of(stream))
    assert failure_of(io.StringIO()) is None
    assert is_lost(OSError(28, "No space left on device"))


NAMED = """
version: 1
portfolios:
  aaa: {name: "Größe → Ω 漢", status: active, interval: 24h, started: 10d}
"""


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_documents_are_utf_8_under_every_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    """What `import > file` leaves is a file that `validate` accepts and that says the same; so is JSON."""
    (tmp_path / "seed.yaml").write_text(NAMED, encoding="utf-8")
    load(tmp_path)
    for form, end in (("", "yaml"), ("-o json", "json")):
        with (tmp_path / f"made.{end}").open("wb") as made:
            line = [*COMMAND, *f"import aaa --names --sandbox {form}".split()]
            subprocess.run(line, cwd=tmp_path, env=environment(**locale), stdout=made, check=True)
        assert "Größe → Ω 漢" in (tmp_path / f"made.{end}").read_text("utf-8")
    assert call(tmp_path, "validate", "-f", "made.yaml").returncode == 0


@pytest.mark.parametrize("spelled", ["-qo json", "-qojson", "-o=json", "--output=json", "-vqo json", "-o json -q"])
@pytest.mark.parametrize("line", ["plan {} --nix", "{} plan nix", "plan {} -f nothing.yaml", "{} nix", "nix {}"])
def test_every_spelling_of_json_holds_for_errors(
    line: str, spelled: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One document on stdout, whatever is wrong."""
    monkeypatch.chdir(tmp_path)
    assert run(line.format(spelled).split()) in (3, 64)
    assert json.loads(capsys.readouterr().out)["errors"]


@pytest.mark.parametrize("handles", [8, 12, 24])
def test_few_files_may_be_open(fleet: Path, handles: int) -> None:
    """Too few is an error of the machine, with what to do; never one of ours. Nothing is half written."""
    with served(fleet) as url:
        line = f"ulimit -n {handles}; exec {' '.join(COMMAND)} plan --parallelism 100"
        ended = subprocess.run(
            ["sh", "-c", line],
            cwd=fleet,
            env=environment(GLIDER_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
        )
    assert "internal error" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 0 or "`ulimit -n 256`" in ended.stderr or "Too many open files" in ended.stdout


@pytest.mark.parametrize(
    ("line", "closed", "code"),
    [
        ("plan --sandbox -f -", "<&-", 3),
        ("plan --sandbox -f -", "</dev/full", 3),
        ("import --ids-from - --sandbox", "<&-", 1),
        ("import --ids-from - --sandbox", "</dev/full", 1),
        ("apply --sandbox", "2>&-", 64),
        ("apply --sandbox", "<&- >&- 2>&-", 64),
        ("nix -o json", ">&-", 64),
        ("--help", ">&-", 1),
    ],
)
def test_streams_that_are_no_streams(fleet: Path, line: str, closed: str, code: int) -> None:
    """A closed stream, or a standard input that can't be read: a documented exit code, and no traceback."""
    ended = subprocess.run(
        ["sh", "-c", f"exec {' '.join(COMMAND)} {line} {closed if '<' in closed else f'</dev/null {closed}'}"],
        cwd=fleet,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in ended.stderr
    assert "internal error" not in ended.stderr
    assert ended.returncode == code
