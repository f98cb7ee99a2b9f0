"""Checks of everything that a plan or an apply needs, as values: what was found, and what to do about it.

In: what the files and the journal hold. Out: one :class:`Check` a question, each judged by itself. What the service was
asked is judged in :mod:`reconciler.core.servicechecks`. Knows no socket, no file and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.core.errors import ConfigInvalid, ExitReason, ReconcilerError
from reconciler.core.planfile import iso
from reconciler.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class CheckId(StrEnum):
    """The checks, in the order of display."""

    PROGRAM = "program"
    FILES = "files"
    JOURNAL = "journal"
    PROXY = "proxy"
    SERVICE = "service"
    KEY = "key"
    ACCOUNT = "account"
    SCOPES = "scopes"
    PATHS = "paths"
    LATENCY = "latency"
    RATE_LIMIT = "rate_limit"
    CLOCK = "clock"

    @property
    def label(self) -> str:
        """The name of the check for people."""
        return self.value.replace("_", " ").capitalize()


class CheckStatus(StrEnum):
    """What came of a check; ``SKIPPED`` is no verdict."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question and its answer. ``finding`` and ``repair`` are phrases without a final stop.

    ``reason`` is what the command exits with for a failed check; ``OK`` for any other.
    """

    id: CheckId
    status: CheckStatus
    finding: str
    repair: str = ""
    reason: ExitReason = ExitReason.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFacts:
    """What is in a journal, of all services; ``None`` of a run where there was none, or where it has no end."""

    version: int
    records: int
    open_intents: int
    last_run: int | None
    last_started_ms: int | None
    last_ended: str | None


def exit_reason(checks: Iterable[Check]) -> ExitReason:
    """Return what the checks exit with: the key before the service, and both before anything else."""
    reasons = {check.reason for check in checks if check.status is CheckStatus.FAIL}
    for grave in (ExitReason.PERMISSION, ExitReason.UNREACHABLE):
        if grave in reasons:
            return grave
    return ExitReason.ERROR if reasons else ExitReason.OK


def ok(check: CheckId, finding: str) -> Check:
    """Return a check that found all well."""
    return Check(id=check, status=CheckStatus.OK, finding=finding)


def warn(check: CheckId, finding: str, repair: str = "") -> Check:
    """Return a check that found something to look at."""
    return Check(id=check, status=CheckStatus.WARN, finding=finding, repair=repair)


def fail(check: CheckId, finding: str, repair: str, reason: ExitReason = ExitReason.ERROR) -> Check:
    """Return a check that found something that stops a plan or an apply."""
    return Check(id=check, status=CheckStatus.FAIL, finding=finding, repair=repair, reason=reason)


def skipped(check: CheckId, finding: str) -> Check:
    """Return a check that could not be made."""
    return Check(id=check, status=CheckStatus.SKIPPED, finding=finding)


def check_files(invalid: ConfigInvalid | None, found: tuple[int, int, int] | None) -> Check:
    """Judge the files; ``found`` counts portfolios and strategies, files, and warnings, ``None`` without files."""
    if invalid is not None:
        return fail(CheckId.FILES, invalid.summary, "`reconciler validate` names each of them")
    if found is None:
        return skipped(CheckId.FILES, "there is no automation.yaml or automation/ here; name files with -f")
    declared, files, warnings = found
    finding = f"valid: {declared} declared in {plural(files, 'file')}"
    if warnings:
        return warn(CheckId.FILES, f"{finding}, {plural(warnings, 'warning')}", "`reconciler validate` tells them")
    return ok(CheckId.FILES, finding)


def check_journal(path: str, found: JournalFacts | ReconcilerError | None) -> Check:
    """Judge the journal; ``None`` where there is none."""
    if found is None:
        return ok(CheckId.JOURNAL, f"there is no {path} yet; the first apply makes it")
    if isinstance(found, ReconcilerError):
        return fail(CheckId.JOURNAL, str(found), found.detail.rstrip("."))
    run = "no run yet"
    if found.last_run is not None:
        ended = found.last_ended.replace("_", " ") if found.last_ended else "has no end yet"
        began = iso(found.last_started_ms)[:16].replace("T", " ") if found.last_started_ms is not None else "?"
        run = f"last run {found.last_run} ({began} UTC): {ended}"
    finding = f"{path}, format {found.version}, {plural(found.records, 'record')}, {run}"
    if found.open_intents:
        repair = "an apply is at work, or one died; the next one finds out what became of them"
        return warn(CheckId.JOURNAL, f"{finding}, {plural(found.open_intents, 'write')} without an outcome", repair)
    return ok(CheckId.JOURNAL, finding)


def not_asked(failed: Check) -> tuple[Check, ...]:
    """Return the checks of the service where it could not even be asked, for the one reason given."""
    every = (
        CheckId.SERVICE,
        CheckId.KEY,
        CheckId.ACCOUNT,
        CheckId.SCOPES,
        CheckId.PATHS,
        CheckId.LATENCY,
        CheckId.RATE_LIMIT,
        CheckId.CLOCK,
    )
    return tuple(failed if check is failed.id else skipped(check, "the service was not asked") for check in every)


def counts(checks: Iterable[Check]) -> Mapping[CheckStatus, int]:
    """Return how many checks came to what."""
    found = dict.fromkeys(CheckStatus, 0)
    for check in checks:
        found[check.status] += 1
    return found
