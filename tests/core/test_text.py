"""Text from outside is made harmless: nothing invisible, nothing that steers, nothing endless."""

from __future__ import annotations

import unicodedata

import pytest

from reconciler.core.text import LONGEST_TEXT, harmless, plural

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("Größe 大", "Größe 大"),
        ("\x1b[31mred", "\\u{1b}[31mred"),
        ("a\nb\tc", "a\\u{a}b\\u{9}c"),
        ("ä\nb", "ä\\u{a}b"),
        ("\x7f", "\\u{7f}"),
        ("\x9b", "\\u{9b}"),
        ("user\u202etxt", "user\\u{202e}txt"),
        ("zero\u200bwidth", "zero\\u{200b}width"),
        ("line\u2028end\u2029", "line\\u{2028}end\\u{2029}"),
        ("\ud800", "\\u{d800}"),
        ("\ue000", "\\u{e000}"),
        ("\u0378", "\\u{378}"),
    ],
)
def test_what_is_escaped(text: str, shown: str) -> None:
    """What can't be seen is shown as its code point; what can be seen stays."""
    assert harmless(text) == shown


@pytest.mark.parametrize(
    ("text", "longest", "shown"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("abc", 4, "abc"),
        ("abc\n", 4, "abc\\u{a}"),
        ("ab\nde", 4, "ab\\u{a}…"),
    ],
)
def test_what_is_cut(text: str, longest: int, shown: str) -> None:
    """Text over the limit ends in an ellipsis, which counts; escapes may make it longer afterwards."""
    assert harmless(text, longest=longest) == shown


def test_the_longest() -> None:
    """Without a limit of its own a text keeps 500 characters."""
    assert LONGEST_TEXT == 500
    assert harmless("x" * 500) == "x" * 500
    assert harmless("x" * 501) == "x" * 499 + "…"


def test_nothing_invisible_is_left() -> None:
    """Of every character below U+3000, and of some above, what goes out can be seen; what could be seen stays."""
    for point in (*range(0x3000), *range(0x3000, 0x110000, 997), 0xFEFF, 0xE0001, 0x10FFFF):
        shown = harmless(chr(point))
        assert not {unicodedata.category(c) for c in shown} & INVISIBLE
        assert shown == chr(point) or unicodedata.category(chr(point)) in INVISIBLE


@pytest.mark.parametrize(("count", "text"), [(0, "0 plans"), (1, "1 plan"), (2, "2 plans"), (-1, "-1 plans")])
def test_plural(count: int, text: str) -> None:
    """One thing is singular, everything else plural."""
    assert plural(count, "plan") == text
