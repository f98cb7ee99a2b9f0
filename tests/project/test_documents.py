"""The pages say what the program does: each command line in them exists, and shown help is the real help."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from reconciler.cli.flags import hoisted
from reconciler.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(reconciler [^`\n]+)`(?!`)")
SHELLS = frozenset({"", "bash", "console", "sh", "shell"})
ENDS = re.compile(r"\s(?:\||\|\||&&|;|>|>>|2>)\s")


def command_lines(page: str) -> list[str]:
    """Return every ``reconciler …`` of a page: in shell blocks (a ``$`` before it or not), and in running text."""
    found = INLINE.findall(FENCE.sub("", page))
    for language, block in FENCE.findall(page):
        if language in SHELLS:
            lines = block.replace("\\\n", " ").splitlines()
            found += [text for line in lines if (text := line.strip().removeprefix("$ ")).startswith("reconciler ")]
    return found


def problem_of(line: str) -> str | None:
    """Return what is wrong with a command line, or ``None``: an unknown command, or an option it does not take."""
    tokens = shlex.split(ENDS.split(line)[0], comments=True)[1:]
    command: click.Command = cli
    known = {*(name for option in hoisted() for name in option.opts), *_options(cli)}
    words = [token for token in tokens if not token.startswith("-")]
    for token in list(words):
        if isinstance(command, click.Group) and token in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), token)
            assert inner is not None
            command, known = inner, known | _options(inner)
            words.remove(token)
    below = getattr(command, "commands", {})
    if not isinstance(command, click.Group) and words and words[0] in below:
        known |= _options(below[words[0]]())
    if isinstance(command, click.Group) and words and words[-1].isalpha() and words[-1].islower():
        return f"{line}: no command {words[-1]!r}"
    asked = {re.split("=", token)[0] for token in tokens if re.match(r"--?[a-z]", token)}
    unknown = sorted(asked - known)
    return f"{line}: no option {unknown[0]!r}" if unknown else None


def _options(command: click.Command) -> set[str]:
    parameters = command.get_params(click.Context(command))
    return {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_command_lines_exist(page: Path) -> None:
    """Every command line of a page names a command and options that the program has."""
    problems = [problem_of(line) for line in command_lines(page.read_text(encoding="utf-8"))]
    assert [problem for problem in problems if problem] == []


def test_every_page_is_in_the_index() -> None:
    """docs/README.md lists each page beside it once, either for users or for builders."""
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\]\(([\w-]+\.md)\)", index)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_shown_help_is_real(page: Path) -> None:
    """A block that shows ``$ reconciler … --help`` goes on with what the program prints."""
    for _, block in FENCE.findall(page.read_text(encoding="utf-8")):
        line, _, shown = block.partition("\n")
        if line.startswith("$ reconciler ") and line.endswith("--help") and shown.strip():
            printed = CliRunner().invoke(cli, shlex.split(line)[2:], prog_name="reconciler", terminal_width=100).output
            assert shown.rstrip() == printed.rstrip(), line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("reconciler plan --out plan.json  # save it", None),
        ("reconciler plan -o json | jq .summary --raw", None),
        ("reconciler --sandbox plan", None),
        ("reconciler sandbox --help", None),
        ("reconciler plan --force", "no option '--force'"),
        ("reconciler frobnicate", "no command 'frobnicate'"),
    ],
)
def test_a_wrong_line_is_found(line: str, expected: str | None) -> None:
    """The check itself tells right from wrong."""
    problem = problem_of(line)
    assert problem is None if expected is None else expected in (problem or "")
