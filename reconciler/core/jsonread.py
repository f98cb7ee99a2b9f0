"""Values of a JSON document, checked for their type: what a saved file holds is believed of no value without it.

In: a JSON text, or a value as the parser gave it. Out: the same value with its type, or ``TypeError`` or
``ValueError``, which the reader of the file turns into its own error. Knows no file format.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.desired import PortfolioId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


def read_document(content: str | bytes) -> Any:
    """Return what a JSON text holds. Raises ``ValueError`` for what is no JSON, and where an object names a key twice.

    Of two values under one key a parser takes one, and a person who looks at the file may take the other.
    """
    return json.loads(content, object_pairs_hook=_each_key_once)


def _each_key_once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError("a key twice")
        found[key] = value
    return found


def portfolio_id(value: object) -> PortfolioId:
    """Return a portfolio id: nothing else may ever reach a URL or a journal."""
    found = text(value)
    if not _ID.fullmatch(found):
        raise ValueError("not a portfolio id")
    return PortfolioId(found)


def text(value: object) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def maybe_text(value: object) -> str | None:
    """Return a text, or ``None`` for null."""
    return None if value is None else text(value)


def texts(values: Sequence[object]) -> tuple[str, ...]:
    """Return a list of texts."""
    return tuple(text(value) for value in values)


def number(value: object) -> int:
    """Return a whole number; 1.0 and true are none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value


def maybe_number(value: object) -> int | None:
    """Return a whole number, or ``None`` for null."""
    return None if value is None else number(value)


def amount(value: object) -> float:
    """Return a finite number, whole or not."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError("not a number")
    if not isfinite(value):
        raise ValueError("not finite")
    return float(value)


def number_within(value: object, *, lowest: int, highest: int) -> int:
    """Return a whole number from ``lowest`` to ``highest``."""
    found = number(value)
    if not lowest <= found <= highest:
        raise ValueError("a number that it can't be")
    return found


def flag(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise TypeError("not a flag")
    return value
