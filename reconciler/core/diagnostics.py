"""What is wrong, where, and how to repair it: values that every layer hands upwards and a renderer prints.

In: nothing. Out: :class:`SourceSpan` and :class:`Diagnostic`. Knows neither files nor terminals.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """How much a diagnostic weighs: an error stops the command, a warning is shown and passed by."""

    ERROR = "error"
    WARNING = "warning"


class SourceSpan(Struct, frozen=True):
    """A place in an input file; line and column count from 1, columns in characters."""

    file: str
    line: int
    column: int = 1
    width: int = 1
    """How many characters the caret underlines; at least 1."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Diagnostic(Struct, frozen=True):
    """One problem, with all that a person needs to repair it.

    ``address`` is the dotted path in the configuration (``portfolios.ao04x0r6.interval``), ``""`` for a whole file.
    ``problem`` and ``repair`` are full phrases without a final stop; ``repair`` may be ``""`` where none is known.
    ``excerpt`` is the source line as written, without its line break, or ``None`` where there is none to show.
    ``rule`` is the id of the rule of advice that it comes from, ``None`` for anything else.
    """

    severity: Severity
    problem: str
    repair: str = ""
    address: str = ""
    span: SourceSpan | None = None
    excerpt: str | None = None
    rule: str | None = None

    def __str__(self) -> str:
        """Return ``file:line:column: address: problem; repair [rule]``, leaving out what is not known."""
        place = [str(part) for part in (self.span, self.address) if part]
        sentence = f"{self.problem}; {self.repair}" if self.repair else self.problem
        return ": ".join([*place, f"{sentence} [{self.rule}]" if self.rule else sentence])
