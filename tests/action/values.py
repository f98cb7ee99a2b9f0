"""How GitHub's expressions compute: what counts as true, what is equal, how a value is written, what functions return.

In: values. Out: values. It knows nothing of the text of an expression.
"""

from __future__ import annotations

import hashlib
import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class ExpressionError(Exception):
    """An expression that our action must not hold."""


class Status(StrEnum):
    """The status of a job or an action, in the word that ``outcome`` shows."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


def truth(value: Any) -> bool:
    """Return whether a value counts as true: all do but false, 0, the empty string and null."""
    return isinstance(value, (dict, list)) or bool(value)


def as_text(value: Any) -> str:
    """Return a value as text, in GitHub's spelling."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:.15g}"
        case dict():
            return "Object"
        case list():
            return "Array"
        case _:
            return str(value)


def _number(value: Any) -> float:
    match value:
        case None:
            return 0.0
        case bool() | int() | float():
            return float(value)
        case str():
            try:
                return float(value.strip() or "0")
            except ValueError:
                return float("nan")
        case _:
            return float("nan")


def equal(left: Any, right: Any) -> bool:
    """Compare without case; values of two kinds compare as numbers."""
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold() == right.casefold()
    if isinstance(left, (dict, list)) or isinstance(right, (dict, list)):
        return left is right
    return _number(left) == _number(right)


def _format(pattern: str, *values: Any) -> str:
    def put(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] is None or int(match[1]) >= len(values):
            raise ExpressionError(f"format: '{pattern}' does not fit {len(values)} values")
        return as_text(values[int(match[1])])

    return re.sub(r"\{\{|\}\}|\{(\d+)\}|[{}]", put, pattern)


def _contains(where: Any, what: Any) -> bool:
    if isinstance(where, list):
        return any(equal(item, what) for item in where)
    return as_text(what).casefold() in as_text(where).casefold()


def _hash_files(workspace: Path | None, *patterns: Any) -> str:
    """Hash the hashes of the files that match, sorted by path; an empty string for none."""
    assert workspace is not None
    total = hashlib.sha256()
    found = sorted({path for one in patterns for path in workspace.glob(as_text(one)) if path.is_file()})
    for path in found:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest() if found else ""


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "always": lambda status, folder: True,
    "success": lambda status, folder: status is Status.SUCCESS,
    "failure": lambda status, folder: status is Status.FAILURE,
    "cancelled": lambda status, folder: status is Status.CANCELLED,
    "!": lambda status, folder, value: not truth(value),
    "==": lambda status, folder, left, right: equal(left, right),
    "!=": lambda status, folder, left, right: not equal(left, right),
    "format": lambda status, folder, pattern, *values: _format(as_text(pattern), *values),
    "contains": lambda status, folder, where, what: _contains(where, what),
    "startswith": lambda status, folder, where, what: as_text(where).casefold().startswith(as_text(what).casefold()),
    "tojson": lambda status, folder, value: json.dumps(value, indent=2, ensure_ascii=False),
    "hashfiles": lambda status, folder, *patterns: _hash_files(folder, *patterns),
}
"""Functions and operators by name, in lower case; each takes the status, the workspace and its arguments."""
