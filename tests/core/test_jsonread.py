"""What is taken for a value of a saved file, and what is not."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.core.jsonread import (
    amount,
    flag,
    maybe_number,
    maybe_text,
    number,
    number_within,
    portfolio_id,
    read_document,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN: list[tuple[Callable[[Any], object], object, object]] = [
    (text, "", ""),
    (maybe_text, None, None),
    (maybe_text, "a", "a"),
    (texts, ["a", ""], ("a", "")),
    (texts, [], ()),
    (number, -3, -3),
    (maybe_number, None, None),
    (maybe_number, 0, 0),
    (amount, 2, 2.0),
    (amount, 0.5, 0.5),
    (flag, True, True),
    (flag, False, False),
    (portfolio_id, "aA0_-", "aA0_-"),
    (portfolio_id, "x" * 128, "x" * 128),
]


@pytest.mark.parametrize(("read", "value", "expected"), TAKEN)
def test_what_is_taken(read: Callable[[Any], object], value: object, expected: object) -> None:
    """The value comes out as it is, with its type; an amount is no whole number any more."""
    found = read(value)
    assert (found, type(found)) == (expected, type(expected))


REFUSED: list[tuple[Callable[[Any], object], object, type[Exception], str]] = [
    *((text, value, TypeError, "not a text") for value in (None, 1, ["a"])),
    (maybe_text, 1, TypeError, "not a text"),
    (texts, ["a", None], TypeError, "not a text"),
    *((number, value, TypeError, "not a number") for value in (None, "1", 1.0, True)),
    (maybe_number, False, TypeError, "not a number"),
    *((amount, value, TypeError, "not a number") for value in (None, "1", True)),
    *((amount, value, ValueError, "not finite") for value in (inf, -inf, nan)),
    *((flag, value, TypeError, "not a flag") for value in (None, 0, "true")),
    *((portfolio_id, value, ValueError, "not a portfolio id") for value in ("", "a/b", "x" * 129, "ä", "a\n")),
    (portfolio_id, 7, TypeError, "not a text"),
]


@pytest.mark.parametrize(("read", "value", "error", "words"), REFUSED)
def test_what_is_refused(read: Callable[[Any], object], value: object, error: type[Exception], words: str) -> None:
    """Anything else is an error that says what it is not."""
    with pytest.raises(error, match=rf"^{words}$"):
        read(value)


@pytest.mark.parametrize(("value", "taken"), [(2, False), (3, True), (5, True), (6, False)])
def test_both_ends_are_within(value: int, taken: bool) -> None:
    """A number is taken from the lowest to the highest."""
    if taken:
        assert number_within(value, lowest=3, highest=5) == value
    else:
        with pytest.raises(ValueError, match=r"^a number that it can't be$"):
            number_within(value, lowest=3, highest=5)


@pytest.mark.parametrize(
    "content", ['{"a": 1, "a": 1}', '[{"b": {"a": null, "a": 2}}]', '{"a": 1, "\\u0061": 2}', b'{"": 1, "": 1}']
)
def test_a_key_twice_is_refused(content: str | bytes) -> None:
    """Which of two values counts is nobody's guess, wherever the object stands and however the key is spelled."""
    with pytest.raises(ValueError, match="a key twice"):
        read_document(content)


def test_a_document_is_read() -> None:
    """One key in several objects is no key twice."""
    assert read_document(b'{"a": [{"b": 1}, {"b": 2}], "b": 3}') == {"a": [{"b": 1}, {"b": 2}], "b": 3}
