"""Carry changes out on a service that answers as it was told, and look from outside at what that left behind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.apply.announce import WAITS_SECONDS
from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.journalreads import read_memory
from reconciler.apply.run import Pace, Stop, apply_plan
from reconciler.core.fleet import EVERYTHING
from reconciler.core.intent import Call
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint
from reconciler.core.report import ApplyReport
from tests.apply.scripted import Scripted, rows
from tests.support import BASE_URL, NOON_MS, Silence, folder, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from reconciler.core.change import Change
    from reconciler.core.errors import ApiError
    from reconciler.core.model import PortfolioId, Record
    from reconciler.core.report import Outcome

LOOKS = len(WAITS_SECONDS)
"""So many times is looked for the effect of a write."""

Asked = tuple[object, ...]
Script = list[tuple[Asked, object]]
"""What is asked of the service, each with its answer."""


def plan_of(*changes: Change) -> Plan:
    """Return a plan of these changes and nothing else."""
    return Plan(
        base_url=BASE_URL,
        created_ms=NOON_MS,
        config_digest="",
        config_files=(),
        selection=EVERYTHING,
        changes=changes,
    )


def tokens() -> Callable[[], str]:
    """Return a source of tokens: 000001, 000002, …"""
    made = iter(range(1, 1000))
    return lambda: f"{next(made):06x}"


def apply(
    place: Path,
    made: Plan,
    api: Any,
    pace: Pace = Pace(parallelism=1),  # noqa: B008  a frozen value
    stop: Stop | None = None,
    observer: Any = None,
    records: Mapping[PortfolioId, Record] | None = None,
    before: Callable[[OpenJournal], object] = lambda _: None,
    **more: Any,
) -> ApplyReport:
    """Carry a plan out with a journal at ``place`` that holds ``records``; ``before`` is done to it when it is open.

    ``now_ms`` is the journal's clock, where it is another than the service's; ``more`` goes to the apply.
    """
    now_ms = more.pop("now_ms", api.clock.now_ms)
    given = {"token": tokens(), **more}
    with open_journal(place, base_url=BASE_URL, now_ms=now_ms) as journal:
        journal.confirm(records or {})
        journal.open_run(fingerprint=fingerprint(made), tool="t", approved=more.get("approved"))
        before(journal)

        async def carried_out() -> ApplyReport:
            with QueuedJournal(journal) as queued:
                going = apply_plan(
                    made,
                    api=api,
                    journal=queued,
                    clock=api.clock,
                    observer=observer or Silence(),
                    pace=pace,
                    stop=stop or Stop(),
                    **given,
                )
                return await asyncio.wait_for(asyncio.create_task(going, name="apply"), timeout=60)

        report = run(carried_out())
    assert isinstance(report, ApplyReport)
    return report


@dataclass(frozen=True, kw_only=True)
class Went:
    """What carrying out one change left behind: rows of the journal (call, outcome, detail), and its result.

    ``calls`` are those of the result, where they are not all that the journal has. ``error`` is its failure: kind,
    words and operation. ``record`` is what the journal holds as confirmed. ``raised`` says that the apply was ended.
    """

    journal: Sequence[tuple[str, str, str]] = ()
    outcome: Outcome | None = None
    detail: str = ""
    calls: Sequence[Call] | None = None
    notes: Sequence[str] = ()
    error: tuple[str, str, str] | None = None
    record: Record | None = None
    raised: bool = False

    @property
    def whole(self) -> dict[str, object]:
        """All of it, to be compared."""
        calls = [Call(row[0]) for row in self.journal] if self.calls is None else list(self.calls)
        return {
            **vars(self),
            "journal": list(self.journal),
            "calls": [] if self.raised else calls,
            "notes": list(self.notes),
        }


def told(error: ApiError | None) -> tuple[str, str, str] | None:
    """Return a failure as a value."""
    return None if error is None else (error.kind.value, str(error), error.operation)


def carry_out(change: Change, script: Script, **given: Any) -> Went:
    """Carry out one change on a service that has to be asked exactly this, and answers so; ``given`` as for apply."""
    api = Scripted(*(answer for _, answer in script))
    api.entering = given.pop("entering", [])
    report: ApplyReport | None = None
    with folder() as place:
        path = place / "journal.db"
        before = given.pop("before", lambda _: None)
        already: list[int] = []

        def begun(journal: OpenJournal) -> None:
            before(journal)
            already.append(len(rows(path, "SELECT id FROM writes")))

        try:
            report = apply(path, plan_of(change), api, before=begun, **given)
        except asyncio.CancelledError:
            report = None
        written = rows(path, "SELECT call, outcome, detail FROM writes ORDER BY id")[already[0] :]
        records = read_memory(path, base_url=BASE_URL, now_ms=api.clock.now_ms()).records
    assert api.asked == [asked for asked, _ in script]
    assert api.rooms == {}
    record = records.get(change.id)
    if report is None:
        return Went(journal=written, record=record, raised=True)
    (result,) = report.results
    assert result.change == change
    return Went(
        journal=written,
        outcome=result.outcome,
        detail=result.detail,
        calls=result.calls,
        notes=result.notes,
        error=told(result.error),
        record=record,
    )
