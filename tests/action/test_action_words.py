"""What the action says: where a sentence of the program names an option of the command line, it names an input."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from reconciler.render.github import as_inputs
from reconciler.render.page import Heading, Lines, Page, Row, Rows, Span, code, reworded, sentence
from tests.action.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTION = re.compile(r"(?<![\w-])(?:--[a-z][a-z-]+|-[a-z])(?![\w-])")
ELSEWHERE = frozenset(
    (
        *(
            "cli/flags.py",
            "cli/commands.py",
            "cli/localcommands.py",
            "cli/completion.py",
            "cli/main.py",
            "cli/words.py",
        ),  # the options
        *("cli/coverage.py", "cli/rebalance.py", "cli/import_.py", "cli/journal.py", "core/doctor.py"),
        *("apply/trigger.py", "apply/journalcarry.py", "config/into.py", "render/coverage.py"),
        *("cli/status.py", "cli/offline.py"),  # what they say of options is refused before by the inputs
        "render/status.py",  # of one portfolio in detail
        *("cli/bootstrap.py", "config/git.py", "render/github.py"),  # pip's, git's, and the table itself
    )
)
"""Modules whose words about options no step of the action comes to."""
UNSAID = (
    "A portfolio without a schedule is only run with --skip-schedule-validation.",  # of a rebalance
    "add --sandbox",  # another repair stands in its place, see test_action_inputs.py
    "and `--sandbox` takes a file",
    "or put it before: `status aaa --sandbox`",
    "reconciler planaaa --sandbox",  # of init
    "`reconciler import --into FILE` adds to one that is there",
    "See `aaa --help`.",  # the value is whole: `reconciler plan`
    "`-o json` prints",  # of files that are none, and what another command would have done
    "drop --api, or change its file",
    "Invalid value for --next",  # of load
    *("--canary, --max-failures, ", "--canary aaa", "--max-failures aaa"),  # of runners that differ where no step can
)
"""Sentences about options that can't be given to the action."""
OF_GIT = ("`git fetch --unshallow`", "`git rm --cached`", "`ulimit -n 256`")
KEPT = re.compile(r"`reconciler (?:status --out|report|history|show|import|init|doctor|journal)[^`]*`")
"""What no step can run, and a person can."""


def _sentences(path: Path) -> Iterator[str]:
    """Yield each text of a module that is no docstring, with ``aaa`` where a value is to stand, quoted where it is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    inside |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(map(_shown, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield f"`{node.value}`" if node.value.startswith("reconciler ") else node.value


def _shown(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    return "'aaa'" if isinstance(part, ast.FormattedValue) and part.conversion == ord("r") else "aaa"


def _every() -> list[str]:
    """Return the sentences about options that a step may come to; an option by itself goes to git."""
    modules = (ROOT / "reconciler").rglob("*.py")
    named = {path.relative_to(ROOT / "reconciler").as_posix(): path for path in modules}
    assert named.keys() >= ELSEWHERE
    said = [
        text
        for name, path in sorted(named.items())
        if name not in ELSEWHERE and not name.startswith("sandbox/")
        for text in _sentences(path)
        if OPTION.search(text) and " " in text.strip()
    ]
    assert [words for words in UNSAID if not any(words in text for text in said)] == []
    return [text for text in said if not any(words in text for words in UNSAID)]


def test_no_sentence_of_the_action_names_an_option() -> None:
    """Each sentence of the program that may reach a page or a log of the action comes out without an option."""
    every = _every()
    assert len(every) > 30
    for text in every:
        told = KEPT.sub("", as_inputs(text))
        for words in OF_GIT:
            told = told.replace(words, "")
        assert not OPTION.search(told), as_inputs(text)
        assert told.count("`") % 2 == 0, told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("allow it with --allow resume=12", "allow it with `allow: resume=12`"),
        ("with --allow start=1 --allow resume=2 --allow reach=unknown", "with `allow: start=1 resume=2 reach=unknown`"),
        ("Release one with --resume-held ID, or `hold: x`", "Release one with `resume-held: ID`, or `hold: x`"),
        ("a later resume needs --resume-held ao-0_4", "a later resume needs `resume-held: ao-0_4`"),
        ("name it with --again or to start it", "name it with `again: or` to start it"),
        ("--resume-held 'x' is not among them", "`resume-held` 'x' is not among them"),
        ("in parts, with --target or --select", "in parts, with `target` or `select`"),
        ("--select group=empty: no portfolio", "`select: group=empty`: no portfolio"),
        ("plan from it with `plan --live FILE`", "plan from it with `plan` (`live: FILE`)"),
        ("look with `reconciler status aaa`", "look with `status` (`target: aaa`)"),
        ("See `reconciler plan --help`.", "See `docs/ci.md`."),
        ("See `reconciler lift --help`.", "See `docs/ci.md`."),
        ("until it is lifted: `reconciler halt lift 2026-7f`", "until it is lifted: `lift` (`halt: 2026-7f`)"),
        ("stop it with `reconciler halt --known --auto-approve`", "stop it with `halt` (`known`, `auto-approve`)"),
        ("`reconciler halt list` shows them", "`reconciler halt list` shows them"),
        ("take everything with --all; --known takes ids", "take everything with `all`; `known` takes ids"),
        ("make one with `reconciler status --out FILE`", "make one with `reconciler status --out FILE`"),
        ("`git rm --cached`, well-known, a--b, -file", "`git rm --cached`, well-known, a--b, -file"),
        ("unbalanced ` --base", "unbalanced ` `base`"),
        ("--unheard-of aaa", "--unheard-of aaa"),
    ],
)
def test_options_become_inputs(text: str, told: str) -> None:
    """What stands behind an option goes with it, and everything else stays."""
    assert as_inputs(text) == told


def test_a_page_is_reworded_and_its_data_stays() -> None:
    """Sentences of every kind of block are put in other words; an id, a place and an unfolded row keep theirs."""
    row = Row((code("--base"), "drop --base", sentence("type `reconciler plan --base REF` once")), alike="--base")
    table = Rows(columns=(), rows=(row,), parts=())
    blocks = (Heading("--base"), Lines((("with --base", Span("--base", code=True)),)), table)
    page = Page(title="--base", verdict="a --base", blocks=blocks)
    drop = ("with ", Span("base", typed=True), Span("--base", code=True))
    typed = Span("plan` (`base: REF`)"[:-1], typed=True)
    told = Row((code("--base"), "drop `base`", ("type ", typed, " once")), alike="`base`")
    assert reworded(page, as_inputs) == Page(
        title="`base`",
        verdict="a `base`",
        blocks=(Heading("`base`"), Lines((drop,)), Rows(columns=(), rows=(told,), parts=())),
    )
