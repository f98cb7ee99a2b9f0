"""Reads plain data (dicts, lists, text, numbers) field by field and collects every problem with its address.

In: data as a YAML or JSON parser gives it. Out: typed values, or one ``SandboxError`` that lists all problems.
Knows nothing of what the fields mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.errors import SandboxError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import StrEnum

    Choice = TypeVar("Choice", bound=StrEnum)

_LONGEST_SHOWN: Final = 60
_LONGEST_TEXT: Final = 1_000


class FieldProblems:
    """The problems found so far, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []

    def add(self, address: str, problem: str, repair: str = "") -> None:
        """Note one problem; phrases without a final stop."""
        self._found.append(Diagnostic(Severity.ERROR, problem, repair, address))

    def stop(self, what: str) -> None:
        """Raise :class:`SandboxError` with ``what`` and every problem, one a line; return if there is none."""
        if self._found:
            count = len(self._found)
            summary = f"{what} has {count} problem{'' if count == 1 else 's'}"
            raise SandboxError(summary, "\n".join(str(problem) for problem in self._found))


class FieldReader:
    """The keys of one mapping. Each reader returns its ``default`` if the key is missing or its value is wrong."""

    def __init__(self, data: object, address: str, problems: FieldProblems, *, known: Iterable[str]) -> None:
        self.address = address
        self._problems = problems
        self._data: dict[object, object] = {}
        if not isinstance(data, dict):
            problems.add(address, f"must be a mapping, not {quoted(data)}")
            return
        self._data = data
        names = list(known)
        for key in data:
            if key not in names:
                near = _near(str(key), names)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
                problems.add(self.at(quoted(key)), "is not a known field", hint)

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def at(self, key: str) -> str:
        """Return the address of ``key``."""
        return f"{self.address}.{key}" if self.address else key

    def problem(self, key: str, problem: str, repair: str = "") -> None:
        """Note a problem with the value of ``key``."""
        self._problems.add(self.at(key), problem, repair)

    def raw(self, key: str) -> object:
        """Return the value as it is; ``None`` if the key is missing."""
        return self._data.get(key)

    def text(self, key: str) -> str | None:
        """Return a text of 1 to 1000 characters."""
        if key not in self._data:
            return None
        value = self._data[key]
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT:
            self.problem(key, f"must be a text of 1 to {_LONGEST_TEXT} characters, not {quoted(value)}")
            return None
        return value

    def whole(self, key: str, *, default: int, least: int, most: int) -> int:
        """Return a whole number from ``least`` to ``most``."""
        value = self._data.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.problem(key, f"must be a whole number from {least} to {most}, not {quoted(value)}")
            return default
        return value

    def choice(self, key: str, kind: type[Choice], *, default: Choice | None) -> Choice | None:
        """Return one of the words of ``kind``."""
        if key not in self._data:
            return default
        value = self._data[key]
        words = [member.value for member in kind]
        if isinstance(value, str) and value in words:
            return kind(value)
        near = _near(str(value), words)
        self.problem(
            key, f"must be one of {', '.join(words)}, not {quoted(value)}", f"did you mean {near[0]}?" if near else ""
        )
        return default


def _near(word: str, words: list[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(word, words, n=1)


def quoted(value: object) -> str:
    """Return a value from outside for an error message: harmless and short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return harmless(str(value), longest=_LONGEST_SHOWN)
