"""No command line ends in a traceback: whatever is typed, the exit code is a documented one."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.cli.main import COMMANDS, run
from reconciler.core.errors import ExitReason
from tests.cli.test_cli_streams import SINKS, SOURCES, run_into
from tests.support import examples

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

pytestmark = pytest.mark.slow

WORDS = [*COMMANDS, "load", "reset", "advance", "aaa", "automation.yaml", "seed.yaml", "plan.json", "nothing.yaml", "."]
OPTIONS = [
    *("-f", "--file", "--target", "--exclude", "--select", "-o", "--output", "--parallelism", "--journal", "--sandbox"),
    *("--no-color", "-v", "-q", "--unverified", "--resume-held", "--out", "--detailed-exitcode", "--auto-approve"),
    *(
        "--allow",
        "--canary",
        "--max-failures",
        "--lock-timeout",
        "--against",
        "--approved",
        "--base",
        "--run",
        "--live",
    ),
    *("--ids-from", "--into", "--yes", "-n", "-V", "--all", "--names", "--api", "--fail-on"),
    *("--sandbox=.reconciler/sandbox.db", "--version", "--help", "--", "-", "-o=json", "--output=json", "-ojson"),
]
VALUES = [
    *(
        "json",
        "text",
        "markdown",
        "group=",
        "group=x",
        "resume=1",
        "resume=x",
        "0",
        "-1",
        "101",
        "99999999999999999999",
    ),
    *("skip", "fail", "10s", "never", "", " ", "\x00", "\x1b[31m", "\ud800", "é" * 300, "../../x", "fifo", "HEAD"),
]
LINES = st.lists(st.sampled_from(WORDS) | st.sampled_from(OPTIONS) | st.sampled_from(VALUES), max_size=7)
CODES = {reason.code for reason in ExitReason}


def test_no_word_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Each of them may follow `--out`: from two folders down none names a device or a place outside."""
    folder = tmp_path.resolve()
    (inner := folder / "far" / "down").mkdir(parents=True)
    for word in (*WORDS, *OPTIONS, *VALUES):
        for path in (word, word.rpartition("=")[2]):
            if "\x00" not in path:
                assert Path(os.path.normpath(inner / path)).is_relative_to(folder), word


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*COMMANDS, "sandbox load", "sandbox advance"]), LINES)
def test_any_command_line(shell: Shell, command: str, rest: list[str]) -> None:
    """Every ending is a documented exit code and never our own bug; a FIFO stays and keeps nobody waiting."""
    arguments = [*command.split(), *rest]
    if "serve" in arguments:
        return
    inner = shell.folder / "far" / "down"
    inner.mkdir(parents=True, exist_ok=True)
    if not (inner / "fifo").exists():
        os.mkfifo(inner / "fifo")
        for name in ("seed.yaml", "automation.yaml"):
            shutil.copy(shell.folder / name, inner)
    beside = set(shell.folder.parent.iterdir())
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(inner), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    assert set(shell.folder.parent.iterdir()) == beside, arguments
    assert (inner / "fifo").is_fifo(), arguments
    assert code in CODES
    assert "internal error" not in err.getvalue(), (arguments, err.getvalue())
    assert "Traceback" not in err.getvalue(), (arguments, err.getvalue())


@pytest.mark.parametrize("out", SINKS)
@pytest.mark.parametrize("err", SINKS)
@settings(max_examples=examples(3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SOURCES)), st.sampled_from([*COMMANDS, "sandbox load", "sandbox advance"]), LINES)
def test_any_command_line_without_its_streams(
    shell: Shell, out: str, err: str, source: str, command: str, rest: list[str]
) -> None:
    """The same, with standard output and error gone, hung up, full or closed in turn, and an input like that."""
    arguments = [*command.split(), *rest]
    if "serve" in arguments or any("\x00" in word or not word.isprintable() for word in arguments):
        return  # no process has such arguments
    ended = run_into(shell.folder, out, err, *arguments, source=source)
    assert ended.returncode in CODES, arguments
    assert "internal error" not in (ended.stderr or ""), (arguments, ended.stderr)
    assert "Traceback" not in (ended.stderr or ""), (arguments, ended.stderr)


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "closed"])
@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("validate -f -", {3}),
        ("plan --sandbox -f -", {3}),
        ("plan --sandbox --resume-held @-", {1}),
        ("import --sandbox --ids-from -", {1}),
        ("apply --sandbox", {1, 64}),
        ("rebalance aaa --sandbox", {1, 64}),
    ],
)
def test_what_reads_an_input_that_gives_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, source: str, line: str, codes: set[int]
) -> None:
    """It is said, and no yes to a question; a terminal that has gone is none."""
    with SOURCES[source]() as given:
        stdin = Path(os.devnull).open() if given < 0 else open(os.dup(given))  # noqa: PTH123, SIM115 - a descriptor
        with stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            ended = shell(line)
    assert ended.code in codes, (ended.code, ended.err)
    assert ended.err.count("error: ") == 1, ended.err
    assert "internal error" not in ended.err, ended.err


@pytest.mark.parametrize(
    "url", [" ", "\x7f", "ключ", "http://", "https://u:p@h/", "https://h/?q", "//h", "ftp://h", "x" * 5000]
)
def test_a_strange_base_url_is_wrong_usage(shell: Shell, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A base URL that is none is refused before any request, whatever it is."""
    monkeypatch.setenv("GLIDER_BASE_URL", url)
    ended = shell("plan --target aaa")
    assert ended.code == 64
    assert "internal error" not in ended.err


@pytest.mark.parametrize("key", ["", " ", "\x7f", "ключ", "a b\tc\x01"])
def test_a_strange_key_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A key that can be none is refused before any request."""
    monkeypatch.setenv("GLIDER_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GLIDER_API_KEY", key)
    ended = shell("plan --target aaa")
    assert ended.code == 7
    assert "internal error" not in ended.err
