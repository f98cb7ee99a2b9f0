"""What is live: a row for each portfolio, and the cadences of strategies.

In: :class:`StatusRow` values sorted by id. Out: a :class:`~reconciler.render.page.Page`, or JSON values, in which times
are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.adoption import declarable_reason
from reconciler.core.codec import dump
from reconciler.core.evidence import known_interval, known_offset, paused_by
from reconciler.core.model import PausedBy, Provenance, Signs, Status, StrategyStatus
from reconciler.core.needs import Need, counts_of, overdue_ms
from reconciler.core.rebalance import Knowledge, RebalanceStatus
from reconciler.core.text import format_duration, harmless, plural
from reconciler.render.effects import need_text, needs_effect, overdue_text
from reconciler.render.json import picked
from reconciler.render.page import (
    NAME,
    TONES,
    UNVERIFIED,
    At,
    Column,
    Lines,
    Page,
    Part,
    Row,
    Rows,
    Span,
    Tone,
    code,
    moment,
    sentence,
    toned,
)
from reconciler.render.rebalance import rebalance_document, status_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.model import Desired, Live, Record, StrategyDesired, StrategyId, StrategyLive
    from reconciler.core.needs import Needed
    from reconciler.core.rebalance import KeptRebalance, LastRebalance
    from reconciler.render.page import Block, Cell, Piece

NO_STRATEGIES: Mapping[StrategyId, Any] = {}
STRIP_LENGTH: Final = 5
"""How many of a portfolio's last results are shown as a strip."""
_COLUMNS: Final = (
    Column("Problem"),
    Column("Portfolio"),
    NAME,
    Column("Group", keep=1, widest=16),
    Column("Owner", keep=6, widest=24, whole=True),
    Column("State"),
    Column("Schedule"),
    Column("Strategy", keep=1, widest=28),
    Column("Next run", keep=3),
    Column("Last run", keep=2),
    Column("Result", keep=5),
    Column("Note", below=True),
)
_MARKS: Final = {
    RebalanceStatus.COMPLETED: ("✔", Tone.GOOD),
    RebalanceStatus.CANCELLED: ("○", Tone.NOTICE),
    RebalanceStatus.FAILED: ("✖", Tone.BAD),
    RebalanceStatus.UNKNOWN: ("✖", Tone.BAD),
}
"""The mark of each way in which a rebalance can be over."""
_UNKNOWN: Final = {
    True: sentence("? How its last rebalance ended is not known here: `reconciler status --results` reads it."),
    False: sentence(
        "? Glider's v2 API tells only how rebalances ended that were asked for from here; "
        "`reconciler status --results` reads these."
    ),
}
"""What ``?`` means as a result, by whether the API lists rebalances."""


class Seen(Struct, frozen=True, kw_only=True):
    """One portfolio as read, and as we last wrote it. Times are UTC epoch milliseconds.

    ``now_ms`` is the service's time at the read; ``None`` if it is not known.
    """

    live: Live
    record: Record | None
    now_ms: int | None = None

    @property
    def due_ms(self) -> int | None:
        """When the service says that it runs next, even if that time has passed; ``None`` if nothing runs."""
        return self.live.next_run_ms if self.live.status is Status.ACTIVE else None

    @property
    def next_run_ms(self) -> int | None:
        """When it runs next; ``None`` if nothing runs or that time has passed."""
        due = self.due_ms
        return None if due is None or (self.now_ms is not None and due < self.now_ms) else due

    @property
    def overdue(self) -> str:
        """Since when it has been due, as a phrase; ``""`` if it is not."""
        due, late_ms = self.due_ms, self.overdue_ms
        by = f"{overdue_text(late_ms)}, " if late_ms is not None else ""
        return f"{by}was due {moment(due)}" if due is not None and self.next_run_ms is None else ""

    @property
    def overdue_ms(self) -> int | None:
        """For how long it should have run and did not; ``None`` if it is not overdue, or nobody knows."""
        return overdue_ms(self.live, self.record, now_ms=self.now_ms) if self.now_ms is not None else None

    @property
    def schedule(self) -> str:
        """Interval and offset, and how they are known: ``?`` if they can't be, ``-`` without a schedule."""
        if self.live.status not in (Status.ACTIVE, Status.PAUSED):
            return "-"
        interval, offset = known_interval(self.live, self.record), known_offset(self.live, self.record)
        if interval.value is None:
            return UNVERIFIED
        text = format_duration(interval.value)
        if offset.value:
            text += f" +{format_duration(offset.value)}"
        return text if interval.provenance is Provenance.READ else f"{text} ({interval.provenance.value})"


class StatusRow(Seen, frozen=True, kw_only=True):
    """One declared portfolio.

    ``last`` is its last rebalance as far as it is known, ``None`` if it is not. ``results`` are all that are known,
    read now or before, newest first. ``needs`` says why a person has to look at it, the most urgent first.
    """

    desired: Desired
    last: LastRebalance | None = None
    results: tuple[KeptRebalance, ...] = ()
    needs: tuple[Needed, ...] = ()

    @property
    def paused_by(self) -> PausedBy | None:
        """Whose pause is in force; ``None`` where it is not paused."""
        return paused_by(self.live, self.record, self.desired.api)

    @property
    def signs(self) -> Signs:
        """What good practice is judged by, as far as an answer told it."""
        told = self.live.signs or Signs()
        used = next((int(kept.rebalance.gas_used) for kept in self.results if kept.rebalance.gas_used), None)
        return replace(told, gas_used=used or told.gas_used)

    @property
    def last_run_ms(self) -> int | None:
        """When it last ran: by its schedule, or by a rebalance by hand, which needs no schedule."""
        known = list(self.live.scheduled_ms[:1])
        rebalance = self.last.rebalance if self.last is not None else None
        if rebalance is not None:
            known += [ms for ms in (rebalance.scheduled_ms, rebalance.started_ms) if ms is not None][:1]
        return max(known, default=None)

    @property
    def state(self) -> Span:
        """The status as the service spelled it."""
        word = self.live.word or self.live.status.value.replace("_", " ")
        return Span(harmless(word, longest=24), TONES[self.live.status])

    @property
    def result(self) -> Piece:
        """How the last rebalance ended, as :func:`ending_text` tells it."""
        return ending_text(self.last) if self.last is not None else UNVERIFIED

    def pause(self, *, longest: int) -> str:
        """Return whose pause it is, and its reason without our mark, if that says more; ``""`` if it is not paused."""
        match self.paused_by:
            case None:
                return ""
            case PausedBy.US:
                whose, reason = "paused by us", declarable_reason(self.live.pause_reason) or ""
            case PausedBy.OTHERS:
                whose, reason = "paused by somebody else", self.live.pause_reason or ""
            case PausedBy.UNKNOWN:
                whose = "paused, nobody knows by whom"
                reason = "no reason given" if self.desired.api.can.keeps_reason else ""
            case _:
                assert_never(self.paused_by)
        return f"{whose}: {harmless(reason, longest=longest)}" if reason else whose


class SortBy(StrEnum):
    """What the rows of the table are sorted by, instead of by what needs a person. Rows without that time come last."""

    ID = "id"
    NEXT = "next"
    LAST = "last"
    NAME = "name"


def in_order(rows: Iterable[StatusRow], order: SortBy | None) -> list[StatusRow]:
    """Return the rows sorted; those with the latest last run come first. Without an order, what needs a person comes
    first, the most urgent before the rest."""
    by_id, needs = sorted(rows, key=lambda row: row.live.id), list(Need)
    match order:
        case None:
            return sorted(by_id, key=lambda row: needs.index(row.needs[0].need) if row.needs else len(needs))
        case SortBy.ID:
            return by_id
        case SortBy.NEXT:
            return sorted(by_id, key=lambda row: (row.due_ms is None, row.due_ms))
        case SortBy.LAST:
            return sorted(by_id, key=lambda row: -(row.last_run_ms or 0))
        case SortBy.NAME:
            return sorted(by_id, key=lambda row: (not row.desired.name, (row.desired.name or "").casefold()))
        case _:
            assert_never(order)


def status_page(
    rows: Sequence[StatusRow],
    declared: Mapping[StrategyId, StrategyDesired] = NO_STRATEGIES,
    live: Mapping[StrategyId, StrategyLive] = NO_STRATEGIES,
    *,
    sort: SortBy | None = None,
    whole: bool = False,
    results: bool = True,
    problems: bool = False,
) -> Page:
    """Return the table and a line of counts.

    What needs a person comes first, unless there is another order to ``sort`` by. In a long table, rows that need
    nobody are folded by their state, unless they are sorted or ``whole``; with ``problems`` they are left out.
    ``results`` says whether there is a column for them. Above the table is a line for each strategy that was read: its
    live schedule, and the declared one if they differ. If only strategies were selected, there is no table.
    """
    line, needs = _counts(rows), _needs(rows)
    last = (line, f"Needs a person: {needs or 'nothing'}.") if needs or problems else (line,)
    tone = Tone.NOTICE if needs else Tone.GOOD
    shown = [row for row in in_order(rows, sort) if row.needs or not problems]
    table = _table(shown, whole=whole, results=results, apart=sort is None)
    if not live:
        verdict = ". ".join(filter(None, (needs, line.rstrip("."))))
        return Page(title="Status", tone=tone, verdict=verdict, blocks=table, last=last)
    columns = (Column("Strategy"), NAME, Column("Schedule"))
    found = tuple(
        Row((("strategy ", code(i)), declared[i].name or "", _cadence(declared[i], one))) for i, one in live.items()
    )
    cadences = Rows(columns=columns, rows=found, parts=(Part("Strategies", opened=None),))
    verdict = plural(len(live), "strategy")
    return Page(title="Status", tone=tone, verdict=verdict, blocks=(cadences, *table), last=last if rows else ())


def _needs(rows: Sequence[StatusRow]) -> str:
    """Return how many there are of each need, the most urgent first; ``""`` if nothing needs a person."""
    return ", ".join(f"{count} {need.text}" for need, count in counts_of(row.needs for row in rows).items())


def _counts(rows: Sequence[StatusRow]) -> str:
    """Return how many portfolios there are, how many in each state, and how their last rebalances ended, failed ones
    first. Without results, the latter is left out."""
    states = Counter(row.live.status.value.replace("_", " ") for row in rows)
    total = ", ".join(f"{count} {word}" for word, count in sorted(states.items()))
    rebalances = [row.last.rebalance for row in rows if row.last is not None]
    ends = Counter(rebalance.status.value for rebalance in rebalances if rebalance is not None)
    ended = ", ".join(f"{ends[word]} {word}" for word in sorted(ends, key=lambda word: (word != "failed", word)))
    return f"{plural(len(rows), 'portfolio')}: {total}.{f' Last rebalances: {ended}.' if ended else ''}"


def _table(rows: Sequence[StatusRow], *, whole: bool, results: bool, apart: bool) -> tuple[Block, ...]:
    """Return the table, with results and strategies if there are any, and what ``?`` means in it. What needs a person
    is a part of its own if it is to stand ``apart``, and otherwise no rows are folded."""
    if not rows:
        return ()
    strategies = any(row.live.strategy is not None for row in rows)
    found = tuple(
        Row(
            _cells(row, strategies, results),
            name=row.live.id,
            alike=_alike(row, whole=whole) if apart else "",
            part=0 if row.needs and apart else 1,
            cause=bool(row.needs),
        )
        for row in rows
    )
    parts = (Part("Needs a person"), Part("Portfolios" if whole or not apart else "The others", rank=1, opened=None))
    table = Rows(columns=_COLUMNS, rows=found, parts=parts, subject=1, headed=True)
    unknown = {row.desired.api.can.lists_runs for row in rows if results and row.result == UNVERIFIED}
    told = tuple(words for listed, words in _UNKNOWN.items() if listed in unknown)
    return (table, Lines(told)) if told else (table,)


def _alike(row: StatusRow, *, whole: bool) -> str:
    """Return what a row has in common with others, so that they are shown as one; ``""`` for nothing."""
    return needs_effect(row.needs).shared or ("" if whole else row.live.status.value.replace("_", " "))


def _cells(row: StatusRow, with_strategy: bool, with_result: bool) -> tuple[Cell, ...]:
    live = row.live
    need = row.needs[0].need.value if row.needs else ""
    return (
        toned(need) if need else "",
        code(live.id),
        row.desired.name or "",
        row.desired.group or "",
        row.desired.owner or "",
        row.state,
        row.schedule,
        (live.strategy_name or live.strategy or "-") if with_strategy else "",
        when(row.next_run_ms, row.now_ms),
        when(row.last_run_ms, row.now_ms),
        _results(row) if with_result else "",
        _note(row),
    )


def _results(row: StatusRow) -> Cell:
    """Return the last results that are known as a strip, the newest last, and the last one in a word."""
    word = row.result
    over = [kept.rebalance for kept in row.results[:STRIP_LENGTH] if kept.rebalance.over]
    if not over or (row.last is not None and [row.last.rebalance] == over):
        return word
    strip = (Span(*_MARKS[one.status]) for one in reversed(over))
    return (*strip, *(() if word == UNVERIFIED else (" ",)), word)


def cadences_document(
    desired: Mapping[StrategyId, StrategyDesired], live: Mapping[StrategyId, StrategyLive]
) -> list[dict[str, Any]]:
    """Return the cadences of strategies as JSON values."""
    return [{"name": desired[i].name, "declared": desired[i].schedule, **dump(one)} for i, one in live.items()]


def _cadence(desired: StrategyDesired, live: StrategyLive) -> str:
    """Return what is known of a strategy, in words."""
    match live.status:
        case StrategyStatus.FOUND:
            found = f"schedule {live.cadence}"
        case StrategyStatus.UNKNOWN:
            found = f"schedule {harmless(live.word, longest=40) or UNVERIFIED}"
        case StrategyStatus.NOT_FOUND | StrategyStatus.UNREADABLE | StrategyStatus.NOT_READ:
            why = f": {live.failure}" if live.failure is not None else ""
            found = f"{live.status.value.replace('_', ' ')}{why}"
        case _:
            assert_never(live.status)
    return found if live.cadence is desired.schedule else f"{found}, declared {desired.schedule}"


def ending_text(last: LastRebalance) -> Piece:
    """Return how a rebalance ended: a word, ``-`` if there was none, ``?`` if Glider does not tell."""
    match last.knowledge:
        case Knowledge.READ | Knowledge.KEPT if last.rebalance is not None:
            return status_word(last.rebalance, Tone.BAD if last.went_wrong else TONES[last.rebalance.status])
        case Knowledge.NONE:
            return "-"
        case Knowledge.NOT_EXPOSED:
            return UNVERIFIED
        case Knowledge.READ | Knowledge.KEPT | Knowledge.UNREADABLE:
            return Span("unknown", Tone.NOTICE)
        case _:
            assert_never(last.knowledge)


def when(ms: int | None, now_ms: int | None = None) -> Cell:
    """Return a moment; ``-`` if there is none."""
    return At(ms, now_ms) if ms is not None else "-"


def _note(row: StatusRow) -> str:
    last, needs = row.last, {one.need: need_text(one) for one in row.needs}
    if Need.OVERDUE in needs:
        needs[Need.OVERDUE] = row.overdue
    told = list(needs.values())
    if last is not None and last.failure is not None:
        told.append(f"the last result can't be read: {last.failure}")
    if row.paused_by is not None and not needs.keys() & {Need.HELD, Need.HALTED}:
        told.append(row.pause(longest=100))
    if Need.OVERDUE not in needs and row.overdue:
        told.append(row.overdue)
    return "; ".join(told)


def status_document(row: StatusRow) -> dict[str, Any]:
    """Return a row as JSON values."""
    live, interval, offset = row.live, known_interval(row.live, row.record), known_offset(row.live, row.record)
    known = [
        {**picked(kept.rebalance, "id", "status", "begun_at", "ended_at"), **picked(kept, "read_at")}
        for kept in row.results
    ]
    return {
        **picked(live, "id", "status", "word"),
        "interval": {"ms": interval.value, **picked(interval, "provenance")},
        "offset": {"ms": offset.value, **picked(offset, "provenance")},
        **picked(row, "next_run_at", "due_at", "paused_by", "overdue_ms", "last_run_at"),
        **picked(live, "runs", "pause_reason", "strategy", "strategy_name", "schedule_id"),
        **picked(row.desired, "name", "group", "owner", "labels"),
        "needs": [one.need.value for one in row.needs],
        "last_rebalance": last_document(row.last) if row.last is not None else None,
        "results": known,
        "error": picked(live, "failure")["failure"],
    }


def last_document(last: LastRebalance) -> dict[str, Any]:
    """Return a last rebalance, and how well it is known, as JSON values."""
    return {
        **picked(last, "knowledge"),
        "failed": last.went_wrong,
        "rebalance": rebalance_document(last.rebalance),
        "error": picked(last, "failure")["failure"],
    }
