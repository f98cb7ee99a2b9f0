"""Mistakes that people make at first, with the whole of what is said of each: `mistakes.txt` beside this file.

A case is its name behind `#`, the file, and a line behind `=>` for each problem or warning.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.diagnostics import Severity
from reconciler.core.errors import ConfigInvalid
from tests.config.support import load_text, said

GOLDEN = Path(__file__).with_name("mistakes.txt").read_text("utf-8")
CASES = {case.partition("\n")[0].removeprefix("# "): case for case in GOLDEN.split("\n\n")}
INVISIBLE = {"<TAB>": "\t", "<NO-BREAK SPACE>": "\u00a0"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_said_of_a_mistake(case: str) -> None:
    """Each mistake is named where it stands, in the words of the file, with a repair that can be followed."""
    for shown, character in INVISIBLE.items():
        case = case.replace(shown, character)
    _, *lines = case.splitlines()
    text = "".join(f"{line}\n" for line in lines if not line.startswith("=> "))
    try:
        found = load_text(text).warnings
    except ConfigInvalid as invalid:
        found = invalid.diagnostics
    kinds = ("warning: " if one.severity is Severity.WARNING else "" for one in found)
    assert [f"=> {kind}{line}" for kind, line in zip(kinds, said(list(found)), strict=True)] == [
        line for line in lines if line.startswith("=> ")
    ]
