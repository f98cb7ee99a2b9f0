"""Endings of every kind, with one text in every place that a text from outside can come to."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from reconciler.core.change import (
    Blocked,
    BlockReason,
    Change,
    ChangeReason,
    Field,
    FieldChange,
    Held,
    Moved,
    Risk,
    Snapshot,
    StrategyName,
)
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.diff import compare_plans
from reconciler.core.errors import ApiError, ConfigInvalid, ExitReason, FailureKind, StalePlan
from reconciler.core.fleet import EVERYTHING
from reconciler.core.model import (
    Cadence,
    Desired,
    Live,
    Origin,
    PortfolioId,
    Provenance,
    RunState,
    Status,
    Verb,
    Verdict,
)
from reconciler.core.plan import Excess, Guarded, Plan
from reconciler.core.planfile import fingerprint
from reconciler.core.report import ApplyReport, Outcome, Result
from reconciler.core.text import DAY_MS, HOUR_MS
from reconciler.render.ending import Ending, Found
from reconciler.render.status import StatusRow
from tests.support import cadence_change

NOON_MS: Final = 1_795_348_800_000
REASONS: Final = {
    Verb.START: ChangeReason.NOT_RUNNING,
    Verb.RESUME: ChangeReason.PAUSED_BY_US,
    Verb.UPDATE: ChangeReason.SCHEDULE_DIFFERS,
    Verb.PAUSE: ChangeReason.DECLARED_PAUSED,
}


def change(
    number: int, verb: Verb, *, text: str = "Growth", risks: tuple[Risk, ...] = (), hours: tuple[int, int] = (12, 24)
) -> Change:
    """Return a change of one portfolio; its name and its reason are the text."""
    before, after = (hour * HOUR_MS for hour in hours)
    interval = FieldChange(
        field=Field.INTERVAL, live=before, desired=after, verdict=Verdict.DIFFERENT, provenance=Provenance.OBSERVED
    )
    return Change(
        id=PortfolioId(f"p{number:05}"),
        verb=verb,
        before=Snapshot(state=Status.ACTIVE, interval_ms=before, offset_ms=0),
        after=Snapshot(state=Status.PAUSED if verb is Verb.PAUSE else Status.ACTIVE, interval_ms=after, offset_ms=0),
        fields=() if verb is Verb.PAUSE else (interval,),
        reason=REASONS[verb],
        risks=risks,
        writes_schedule=verb is not Verb.PAUSE,
        note=text,
        name=text,
        next_run_ms=NOON_MS,
        source=Origin("automation.yaml", number),
    )


def plan_of(text: str = "Growth") -> Plan:
    """Return a small plan of every verb, risk, hold and block."""
    return Plan(
        base_url=f"https://api.glider.fi/{text}" if text != "Growth" else "https://api.glider.fi",
        created_ms=NOON_MS,
        config_digest="",
        config_files=(text,),
        selection=EVERYTHING,
        changes=(
            change(1, Verb.START, text=text, risks=(Risk.RUNS_AT_ONCE, Risk.TRADES_AGAIN)),
            change(2, Verb.RESUME, text=text, risks=(Risk.HOLD_OVERRIDDEN, Risk.TRADES_AGAIN)),
            change(3, Verb.UPDATE, text=text, risks=(Risk.MORE_RUNS,), hours=(24, 12)),
            change(4, Verb.UPDATE, text=text),
            change(5, Verb.PAUSE, text=text),
            cadence_change(
                "growth",
                Cadence.DAILY,
                Cadence.HOURLY,
                reach=120,
                risks=(Risk.REACHES_PORTFOLIOS, Risk.MORE_RUNS),
                name=text,
                source=Origin("automation.yaml", 8),
            ),
        ),
        held=(Held(id=PortfolioId("p00006"), pause_reason=text, name=text, source=Origin("automation.yaml", 6)),),
        blocked=(
            Blocked(
                id=PortfolioId("p00007"),
                reason=BlockReason.READ_FAILED,
                detail=text,
                status=text,
                name=text,
                source=Origin("automation.yaml", 7),
            ),
        ),
        moved=(
            Moved(
                id=PortfolioId("p00008"),
                state=RunState.ACTIVE,
                status=Status.PAUSED,
                declared=StrategyName(strategy="growth"),
                live=StrategyName(strategy="value", name=text),
                name=text,
                source=Origin("automation.yaml", 9),
            ),
        ),
        no_op=1,
        over=(Excess(guarded=Guarded.RESUME, planned=12, allowed=5, limit=text),),
    )


def problems_of(text: str = "Growth") -> tuple[Diagnostic, ...]:
    """Return an error with its source line, and a warning about nowhere in particular."""
    span = SourceSpan(text, 3, 5, 4)
    return (
        Diagnostic(Severity.ERROR, text, text, text, span, text),
        Diagnostic(Severity.WARNING, text, text),
    )


def report_of(plan: Plan, text: str = "Growth") -> ApplyReport:
    """Return a report in which every outcome occurs that there are changes for."""
    outcomes = (
        Outcome.DONE,
        Outcome.UNKNOWN,
        Outcome.FAILED,
        Outcome.STALE,
        Outcome.NOT_ATTEMPTED,
        Outcome.ALREADY_DONE,
    )
    results = tuple(
        Result(change=planned, outcome=outcome, detail=text, notes=(text,))
        for planned, outcome in zip(plan.changes, outcomes, strict=True)
    )
    return ApplyReport(plan=plan, results=results, started_ms=NOON_MS, finished_ms=NOON_MS)


def statuses_of(text: str = "Growth") -> tuple[StatusRow, ...]:
    """Return rows of what was read well, was paused by somebody, has a new word, and was not read."""
    failure = ApiError(FailureKind.REFUSED, text, code=text, request_id=text)
    live = (
        Live(id=PortfolioId("a"), status=Status.ACTIVE, interval_ms=DAY_MS, next_run_ms=NOON_MS),
        Live(id=PortfolioId("b"), status=Status.PAUSED, pause_reason=text),
        Live(id=PortfolioId("c"), status=Status.UNKNOWN, word=text),
        Live(id=PortfolioId("d"), status=Status.UNREADABLE, failure=failure),
    )
    return tuple(
        StatusRow(desired=Desired(id=row.id, state=RunState.ACTIVE, name=text), live=row, record=None) for row in live
    )


@lru_cache(maxsize=256)  # several tests look at the same ones, from several sides
def endings(text: str = "Growth") -> dict[str, Ending]:
    """Return an ending of each kind by a name for it."""
    plan, other = plan_of(text), plan_of("Value")
    report = report_of(plan, text)
    uncovered = compare_plans(earlier=other, later=plan)
    known = {"plan": plan, "fingerprint": fingerprint(plan), "notes": (text,)}
    return {
        "validate": Ending(
            reason=ExitReason.INVALID,
            found=Found(command="validate", error=ConfigInvalid(problems_of(text), revision=text)),
        ),
        "valid": Ending(
            reason=ExitReason.OK, found=Found(command="validate", diagnostics=problems_of(text)[1:], portfolios=8)
        ),
        "plan": Ending(reason=ExitReason.ERROR, found=Found(command="plan", **known)),  # type: ignore[arg-type]  # fields of Ending
        "drift": Ending(reason=ExitReason.ERROR, found=Found(command="drift", **known)),  # type: ignore[arg-type]  # as above
        "apply": Ending(reason=ExitReason.PARTIAL, found=Found(command="apply", report=report, **known)),  # type: ignore[arg-type]  # as above
        "refused": Ending(
            reason=ExitReason.STALE,
            found=Found(
                command="apply",
                error=StalePlan(text, text),
                uncovered=uncovered,
                **known,  # type: ignore[arg-type]  # as above
            ),
        ),
        "status": Ending(reason=ExitReason.ERROR, found=Found(command="status", statuses=statuses_of(text))),
        "failed": Ending(reason=ExitReason.USAGE, found=Found(command=text, error=StalePlan(text, text))),
    }
