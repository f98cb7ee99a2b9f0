"""Mistakes that people make at first, with the whole of what is said of each: `tests/golden/mistakes.txt`.

A text is the file, and behind it a line after `=>` for each problem or warning. A new case is a heading and a file:
`--renew` writes what is said of it. What a repair tells to write is then written there, to see that it is accepted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from reconciler.core.diagnostics import Severity
from reconciler.core.errors import ConfigInvalid
from tests.config.support import load_text, said
from tests.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.core.diagnostics import Diagnostic

INVISIBLE = {"<TAB>": "\t", "<NO-BREAK SPACE>": "\u00a0", "<ZERO-WIDTH SPACE>": "\u200b"}
CASES = {
    name: "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("=> "))
    for name, text in Golden().read("mistakes").items()
}


def typed(text: str) -> str:
    """Return a file as it is typed, with the characters that nobody sees."""
    for shown, character in INVISIBLE.items():
        text = text.replace(shown, character)
    return text


def found_in(text: str) -> Sequence[Diagnostic]:
    """Return the problems and warnings of a file."""
    try:
        return load_text(text).warnings
    except ConfigInvalid as invalid:
        return invalid.diagnostics


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_of_a_mistake(golden: Golden, name: str) -> None:
    """Each mistake is named where it stands, in the words of the file, with a repair that can be followed."""
    found = found_in(typed(CASES[name]))
    kinds = ("warning: " if one.severity is Severity.WARNING else "" for one in found)
    lines = "".join(f"=> {kind}{line}\n" for kind, line in zip(kinds, said(list(found)), strict=True))
    assert lines
    for shown, character in INVISIBLE.items():
        lines = lines.replace(character, shown)
    golden("mistakes", name, CASES[name] + lines)


WRITE = re.compile(
    r"(?:write|did you mean|or|such as|to|,) (?:an interval of )?(?:`([^`]+)`|([0-9]+[a-z]+(?:[0-9]+m)?)\b)"
)
QUOTED = re.compile(r'(?:in quotes:|write it as) ("[^"]+")')


def followed(text: str, one: Diagnostic) -> list[str]:
    """Return the file after each of the ways that a repair names, none where it leaves them to its reader."""
    lines = text.splitlines()
    if one.span is None or one.span.line > len(lines):
        return []
    line, start = lines[one.span.line - 1], one.span.column - 1
    end = start + one.span.width
    rewritten = _rewritten(one, line[:start], line[start:end], line[end:])
    return ["\n".join((*lines[: one.span.line - 1], other, *lines[one.span.line :], "")) for other in rewritten]


def _rewritten(one: Diagnostic, before: str, marked: str, behind: str) -> Iterator[str]:
    """Yield the line of a problem with what is marked in it repaired."""
    if one.repair.startswith("remove the quotes"):
        yield before + marked.strip('"') + behind
    elif odd := next((character for character in INVISIBLE.values() if character in marked), None):
        yield before + marked.replace(odd, "") + behind
    elif quoted := QUOTED.search(one.repair):
        yield before + quoted[1] + behind
    for there, bare in WRITE.findall(one.repair):
        new = there or bare
        if one.problem.endswith("is missing"):
            yield before + marked + behind.replace("{", "{" + new + ", ", 1) if before else f"{new}\n{marked}{behind}"
        elif one.problem.startswith("unknown key") and ":" in new:
            yield before + new + re.sub(r"^: *[^,}]*", "", behind)
        elif one.problem.startswith("unknown key") or ":" not in new or ":" in marked:
            yield before + new + behind


LEFT_TO_THE_READER = ("less than", "belongs to", "at the portfolio", "a template such as", "on one line")
"""What stands in a repair that names something else than what is to be written there."""


def test_a_repair_that_is_followed_to_the_letter_is_accepted() -> None:
    """Once it is done, nothing is said there any more: no repair is refused in turn."""
    tried = 0
    for name, case in CASES.items():
        text = typed(case)
        for one in found_in(text):
            if any(words in one.repair for words in LEFT_TO_THE_READER):
                continue
            for repaired in followed(text, one):
                tried += 1
                left = [other for other in found_in(repaired) if other.severity is Severity.ERROR]
                again = [other for other in left if other.address == one.address or "not YAML" in other.problem]
                assert not again, (name, one.repair, repaired)
    assert tried >= 60, tried
