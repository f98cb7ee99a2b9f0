"""Workflow commands, masks and environment files, by the runner's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.action.commands import Command, Level, Listener, Masks, parse, parse_pairs


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("::error::text", Command("error", "text", {})),
        (" \t::error::text", Command("error", "text", {})),
        ("::ERROR::text", Command("error", "text", {})),
        ("::error file=a.yaml,line=3::x%0Ay", Command("error", "x\ny", {"file": "a.yaml", "line": "3"})),
        ("::error title=a%3Ab%2Cc%25::x", Command("error", "x", {"title": "a:b,c%"})),
        ("::error file=,line::x", Command("error", "x", {})),
        ("::error::a::b", Command("error", "a::b", {})),
        ("::error::%253A %3A", Command("error", "%3A %3A", {})),
        ("##[error]text", Command("error", "text", {})),
        ("before ##[error file=a;line=2]text%5D", Command("error", "text]", {"file": "a", "line": "2"})),
        ("::group::name", Command("group", "name", {})),
        ("::nothing::text ##[warning]x", Command("warning", "x", {})),
        ("text ::error::x", None),
        ("::error:x", None),
        ("::errors::x", None),
        ("::error,x::y", None),
        (":: error::x", None),
        ("##[error", None),
        ("# #[error]x", None),
        ("##[bash]x", None),
    ],
)
def test_parsing(line: str, command: Command | None) -> None:
    """A command is found where the runner finds it, and nowhere else."""
    assert parse(line) == command


def test_annotations_and_groups() -> None:
    """An annotation is kept with its place, and the log shows it as the runner writes it."""
    listener = Listener(Masks())
    for line in ("::group::G", "::error file=a.yaml,line=2::one%0Atwo", "::debug::hidden", "::endgroup::", "plain"):
        listener.line(line)
    assert listener.log == ["##[group]G", "##[error]one", "##[error]two", "##[endgroup]", "plain"]
    (note,) = listener.annotations
    assert (note.level, note.message, note.properties) == (Level.ERROR, "one\ntwo", {"file": "a.yaml", "line": "2"})


def test_debug_lines_show_when_asked_for() -> None:
    """A debug line is in the log of a run with debug logging only."""
    listener = Listener(Masks(), debug=True)
    listener.line("::debug::seen")
    assert listener.log == ["##[debug]seen"]


def test_stopped_commands_are_text() -> None:
    """Between stop-commands and its token nothing is a command, not even another stop."""
    listener = Listener(Masks())
    for line in ("::stop-commands::tok1", "::error::x", "::stop-commands::tok2", "##[add-mask]x", "::tok2::"):
        listener.line(line)
    assert not listener.annotations
    assert not listener.masks.values
    listener.line("::TOK1::")
    listener.line("::error::y")
    assert [note.message for note in listener.annotations] == ["y"]


def test_a_long_stop_token_is_masked() -> None:
    """A token of more than six characters is a secret of the log from then on."""
    listener = Listener(Masks())
    listener.line("::stop-commands::0123456789")
    assert listener.log == ["::stop-commands::***"]


@pytest.mark.parametrize("token", ["", "error", "pause-logging", "Stop-Commands"])
def test_a_stop_token_that_is_a_command_is_refused(token: str) -> None:
    """What anybody could say does not stop commands, and asking for it fails the step."""
    listener = Listener(Masks())
    listener.line(f"::stop-commands::{token}")
    listener.line("::warning::still a command")
    assert listener.failed
    assert listener.violations
    assert listener.annotations[-1].level is Level.WARNING


@pytest.mark.parametrize("command", ["set-output name=a", "set-env name=A", "add-path", "save-state name=a", "echo"])
def test_given_up_commands_are_violations(command: str) -> None:
    """A command that the runner has disabled or given up fails the step and is recorded."""
    listener = Listener(Masks())
    listener.line(f"::{command}::value")
    assert listener.failed
    assert len(listener.violations) == 1


def test_masks_hold_from_then_on() -> None:
    """A masked value, and each of its lines, is *** in later lines and annotations, not in earlier ones."""
    listener = Listener(Masks("known"))
    for line in ("known s3cret", "::add-mask::s3cret%0Amore", "a s3cret, more", "::error title=s3cret::s3cret"):
        listener.line(line)
    assert listener.log == ["*** s3cret", "a ***, ***", "##[error]***"]
    assert listener.annotations[0].message == "***"
    assert listener.annotations[0].properties == {"title": "***"}


def test_an_empty_mask_warns_and_masks_nothing() -> None:
    """A mask of nothing would mask everything; the runner warns."""
    listener = Listener(Masks())
    listener.line("::add-mask:: ")
    assert [note.level for note in listener.annotations] == [Level.WARNING]
    assert not listener.masks.values


def test_masks_that_overlap_leave_one() -> None:
    """Values that overlap or touch are masked together, so that no end of one shows."""
    assert Masks("abc", "cde", "ab")("xabcdex abcab") == "x***x ***"


@given(st.lists(st.text("ab.", min_size=1), max_size=3), st.text("ab. "))
def test_no_masked_value_remains(values: list[str], text: str) -> None:
    """Whatever is masked is not in the text afterwards."""
    shown = Masks(*values)(text)
    assert not any(value.strip() and value in shown.replace("***", "\0") for value in values)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("a=1\nb=\n\nc=x=y\n", [("a", "1"), ("b", ""), ("c", "x=y")]),
        ("a<<E\none\ntwo\nE\nb=2", [("a", "one\ntwo"), ("b", "2")]),
        ("a<<E\nE\n", [("a", "")]),
        ("a<<E\n\nE\n", [("a", "")]),
        ("a<<E\nx=1\nb<<F\n E\nE\n", [("a", "x=1\nb<<F\n E")]),
        ("a=x<<E\n", [("a", "x<<E")]),
        ("a<<E=\nx\nE=\n", [("a", "x")]),
        ("a=1\r\n", [("a", "1\r")]),
    ],
)
def test_environment_files(text: str, pairs: list[tuple[str, str]]) -> None:
    """Both forms are read, and a value's lines are never pairs themselves."""
    assert parse_pairs(text) == pairs


@pytest.mark.parametrize("text", ["name", "a<<", "a<<E\nx\n", "=x", "<<E\nx\nE\n"])
def test_broken_environment_files(text: str) -> None:
    """A line that is neither form, a delimiter that never comes, a name that is none: an error."""
    with pytest.raises(ValueError, match=r"Invalid|delimiter"):
        parse_pairs(text)
