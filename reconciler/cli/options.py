"""The options of commands as typed values, in groups that several commands share.

In: what click read from the command line, by name. Out: the options of one command, made by :func:`options_of`. The
GitHub Action makes the same values from its inputs. Each command declares its own options beside its function.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct, convert
from msgspec.structs import fields

from reconciler.cli.flags import DEFAULT_JOURNAL, DEFAULT_PARALLELISM
from reconciler.cli.output import Output
from reconciler.core.endpoint import JournalUrl, journal_url
from reconciler.core.errors import UsageError
from reconciler.core.fleet import Selection, selection_of
from reconciler.core.model import Unverified
from reconciler.core.text import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

SomeOptions = TypeVar("SomeOptions", bound="Options")

_RATE: Final = r"(?a)(\d{1,6}(?:\.\d{1,6})?)(?:/s)?"


class Options(Struct, frozen=True, kw_only=True):
    """A command's options. ``output`` is how it prints."""

    output: Output = Output()


class FileOptions(Struct, frozen=True, kw_only=True):
    """Where the files are; empty means the usual places."""

    sources: tuple[str, ...] = ()


class SelectionOptions(Struct, frozen=True, kw_only=True):
    """Which portfolios a command is about; empty means all. ``selects`` are as typed, such as ``group=NAME``."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    selects: tuple[str, ...] = ()

    @property
    def selection(self) -> Selection:
        """The selection. Raises :class:`~reconciler.core.errors.UsageError`."""
        try:
            return selection_of(self.selects, targets=self.targets, excludes=self.excludes)
        except ValueError as error:
            raise UsageError(f"Invalid value for --select: {error}.") from error


class PolicyOptions(Struct, frozen=True, kw_only=True):
    """The decisions that a plan needs. ``resume_held`` is as typed: ``ID``, ``group=NAME`` or ``@FILE``."""

    unverified: Unverified = Unverified.WRITE
    resume_held: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


class JournalOptions(Struct, frozen=True, kw_only=True):
    """Which journal is used; ``None`` means the one in its usual place."""

    journal: str | None = None

    def __post_init__(self) -> None:
        """Refuse a URL that is not one, or holds a password, before anything else is done with it."""
        _ = self.journal_place

    @property
    def journal_place(self) -> Path | JournalUrl:
        """The journal's file, or the URL of its database. Raises :class:`~reconciler.core.errors.UsageError`."""
        given = self.journal if self.journal is not None else DEFAULT_JOURNAL
        return journal_url(given) or Path(given)


class RecordOptions(JournalOptions, frozen=True, kw_only=True):
    """Which service is meant; ``None`` means the one that the environment names. A sandbox is used in its place."""

    base_url: str | None = None
    sandbox: str | None = None


class ServiceOptions(RecordOptions, frozen=True, kw_only=True):
    """How the service is reached."""

    proxy: str | None = None
    parallelism: int = DEFAULT_PARALLELISM
    max_rate: str | None = None

    @property
    def max_rate_per_s(self) -> float | None:
        """How many requests may go out a second; ``None`` where nobody says. Raises
        :class:`~reconciler.core.errors.UsageError`."""
        if self.max_rate is None:
            return None
        found = re.fullmatch(_RATE, self.max_rate)
        rate = float(found[1]) if found else 0.0
        if not rate:
            raise UsageError(
                f"Invalid value for --max-rate: {self.max_rate!r} is not a number of requests a second.",
                "Write a number above 0, as in `--max-rate 25/s`, or `--max-rate 0.5/s` for one every two seconds.",
            )
        return rate


class PlanningOptions(Options, frozen=True, kw_only=True):
    """The options of every command that makes a plan. ``metrics`` is where its numbers are saved, as far as the command
    offers that."""

    files: FileOptions = FileOptions()
    selection: SelectionOptions = SelectionOptions()
    policy: PolicyOptions = PolicyOptions()
    service: ServiceOptions = ServiceOptions()
    metrics: str | None = None


def duration_of(option: str, given: str, *, such_as: str) -> int:
    """Return the milliseconds that were given with an option. Raises :class:`~reconciler.core.errors.UsageError`."""
    try:
        return parse_duration(given)
    except ValueError as error:
        raise UsageError(f"Invalid value for {option}: {error}; write a duration such as {such_as}.") from error


_fields = cache(fields)
"""The fields of a kind of options. It evaluates their annotations, which takes a millisecond each time."""


def options_of(kind: type[SomeOptions], given: Mapping[str, Any]) -> SomeOptions:
    """Make options of this kind from values by name; what is missing gets its default."""
    return convert(_nested(kind, given), kind)


def _nested(kind: type[Struct], given: Mapping[str, Any]) -> dict[str, Any]:
    """Nest flat values as ``kind`` does: each one goes into the group that has a field of its name."""
    nested: dict[str, Any] = {}
    for field in _fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            nested[field.name] = _nested(field.type, given)
        elif given.get(field.name) is not None:
            nested[field.name] = given[field.name]
    return nested
