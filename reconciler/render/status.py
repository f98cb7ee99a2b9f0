"""What is live: a row for each portfolio, one portfolio in detail, and the cadences of strategies.

In: :class:`StatusRow` values sorted by id, or a :class:`PortfolioView`. Out: a :class:`~reconciler.render.page.Page`,
or JSON values, in which times are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.core.adoption import declarable_reason
from reconciler.core.codec import dump, iso
from reconciler.core.evidence import known_interval, known_offset, paused_by
from reconciler.core.model import PausedBy, Provenance, Signs, Status, StrategyStatus
from reconciler.core.needs import Need, counts_of, overdue_ms
from reconciler.core.rebalance import Knowledge, PortfolioFacts, RebalanceStatus
from reconciler.core.text import format_duration, harmless, plural
from reconciler.render.effects import need_effect, needs_effect, overdue_text, strategy_text
from reconciler.render.json import picked
from reconciler.render.page import (
    NAME,
    TONES,
    UNVERIFIED,
    At,
    Column,
    Facts,
    Heading,
    Lines,
    Notice,
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
from reconciler.render.rebalance import rebalance_document, status_word, took

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.errors import ApiError
    from reconciler.core.model import ApiVersion, Desired, Live, Record, StrategyDesired, StrategyId, StrategyLive
    from reconciler.core.needs import Needed
    from reconciler.core.rebalance import KeptRebalance, LastRebalance, Rebalance
    from reconciler.render.page import Block, Cell, Piece

_NONE: Mapping[StrategyId, Any] = {}
STRIP_LENGTH: Final = 5
"""How many of a portfolio's last results are shown as a strip."""
_HEAD = (
    Column("Problem"),
    Column("Portfolio"),
    NAME,
    Column("Group", keep=1, widest=16),
    Column("Owner", keep=6, widest=24),
    Column("State"),
    Column("Schedule"),
)
_MARKS: Final = {
    RebalanceStatus.COMPLETED: ("✔", Tone.GOOD),
    RebalanceStatus.CANCELLED: ("○", Tone.NOTICE),
    RebalanceStatus.FAILED: ("✖", Tone.BAD),
    RebalanceStatus.UNKNOWN: ("✖", Tone.BAD),
}
"""The mark of each way in which a rebalance can be over."""
_STRATEGY = Column("Strategy", keep=1, widest=28)
_RESULT = Column("Result", keep=5)
_NOT_KNOWN: Final = sentence(
    "? How its last rebalance ended is not known here: `reconciler status --results` reads it."
)
_TIMES = (Column("Next run", keep=3), Column("Last run", keep=2))


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
        return replace(told, gas_used=_gas(kept.rebalance for kept in self.results) or told.gas_used)


class PortfolioView(Seen, frozen=True, kw_only=True):
    """One portfolio in detail; ``desired`` is ``None`` if it is not declared.

    ``recent`` holds its rebalances, newest first, ``None`` where nobody asked for results. ``failures`` are the reads
    beside the status that failed. ``needs`` says why a person has to look at it, the most urgent first.
    """

    version: ApiVersion
    desired: Desired | None
    facts: PortfolioFacts = field(default_factory=PortfolioFacts)
    recent: tuple[LastRebalance, ...] | None = None
    failures: tuple[ApiError, ...] = ()
    needs: tuple[Needed, ...] = ()

    @property
    def paused_by(self) -> PausedBy | None:
        """Whose pause is in force; ``None`` where it is not paused."""
        return paused_by(self.live, self.record, self.version)

    @property
    def signs(self) -> Signs:
        """What good practice is judged by, as far as an answer told it."""
        return replace(self.facts.signs, gas_used=_gas(one.rebalance for one in self.recent or ()))

    @property
    def last(self) -> LastRebalance | None:
        """Its last rebalance, where any is known."""
        return self.recent[0] if self.recent else None


class SortBy(StrEnum):
    """What the rows of the table are sorted by, instead of by what needs a person. Rows without that time come last."""

    ID = "id"
    NEXT = "next"
    LAST = "last"
    NAME = "name"


def in_order(rows: Iterable[StatusRow], order: SortBy) -> list[StatusRow]:
    """Return the rows sorted; those with the latest last run come first."""
    by_id = sorted(rows, key=lambda row: row.live.id)
    match order:
        case SortBy.ID:
            return by_id
        case SortBy.NEXT:
            return sorted(by_id, key=lambda row: (row.due_ms is None, row.due_ms))
        case SortBy.LAST:
            return sorted(by_id, key=lambda row: -(_last_run_ms(row) or 0))
        case SortBy.NAME:
            return sorted(by_id, key=lambda row: (not row.desired.name, (row.desired.name or "").casefold()))
        case _:
            assert_never(order)


def in_need(rows: Iterable[StatusRow]) -> list[StatusRow]:
    """Return the rows that need a person, the most urgent first, and then the others."""
    needs = list(Need)
    return sorted(rows, key=lambda row: needs.index(row.needs[0].need) if row.needs else len(needs))


def status_page(
    rows: Sequence[StatusRow],
    declared: Mapping[StrategyId, StrategyDesired] = _NONE,
    live: Mapping[StrategyId, StrategyLive] = _NONE,
    *,
    whole: bool = False,
    results: bool = True,
    problems: bool = False,
) -> Page:
    """Return the table and a line of counts.

    In a long table, rows that need nobody are folded by their state, unless ``whole``; with ``problems`` they are left
    out. ``results`` says whether there is a column for them. Above the table is a line for each strategy that was read:
    its live schedule, and the declared one if they differ. If only strategies were selected, there is no table.
    """
    line, needs = _counts(rows), _needs(rows)
    last = (line, f"Needs a person: {needs or 'nothing'}.") if needs or problems else (line,)
    tone = Tone.NOTICE if needs else Tone.GOOD
    shown = [row for row in rows if row.needs or not problems]
    table = _table(shown, whole=whole, results=results)
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


def _table(rows: Sequence[StatusRow], *, whole: bool, results: bool) -> tuple[Block, ...]:
    """Return the table, with columns of results and, if there are any, of strategies; and what ``?`` means in it."""
    if not rows:
        return ()
    strategies = any(row.live.strategy is not None for row in rows)
    found = tuple(
        Row(
            _cells(row, strategies, results),
            name=row.live.id,
            alike=_alike(row, whole=whole),
            part=0 if row.needs else 1,
            cause=bool(row.needs),
        )
        for row in rows
    )
    more = (_STRATEGY,) if strategies else ()
    columns = (*_HEAD, *more, *_TIMES, *((_RESULT,) if results else ()), Column("Note", below=True))
    parts = (Part("Needs a person"), Part("Portfolios" if whole else "The others", rank=1, opened=None))
    table = Rows(columns=columns, rows=found, parts=parts, subject=1, headed=True)
    unknown = results and any(row.last is None for row in rows)
    return (table, Lines((_NOT_KNOWN,))) if unknown else (table,)


def _alike(row: StatusRow, *, whole: bool) -> str:
    """Return what a row has in common with others, so that a long table shows them as one row; ``""`` for nothing."""
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
        _state(live),
        row.schedule,
        *((live.strategy_name or live.strategy or "-",) if with_strategy else ()),
        _at(row.next_run_ms, row.now_ms),
        _at(_last_run_ms(row), row.now_ms),
        *((_results(row),) if with_result else ()),
        _note(row),
    )


def _results(row: StatusRow) -> Cell:
    """Return the last results that are known as a strip, the newest last, and the last one in a word."""
    word = _result(row.last)
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


def portfolio_page(view: PortfolioView) -> Page:
    """Return the facts line by line, then a table of rebalances."""
    live = view.live
    blocks: list[Block] = [Heading(Span(live.id, Tone.STRONG, code=True)), Facts(_facts(view))]
    if view.failures:
        blocks.append(Notice(Tone.BAD, tuple(map(str, view.failures))))
    if view.recent is not None:
        blocks += _rebalances(view, view.recent)
    return Page(title="Portfolio", verdict=live.status.value.replace("_", " "), blocks=tuple(blocks))


def _facts(view: PortfolioView) -> tuple[tuple[str, Cell], ...]:
    live, facts = view.live, view.facts
    result: Cell = _result(view.last) if view.recent or live.strategy else "-"
    name = (view.desired.name if view.desired else None) or facts.name or live.name or ""
    rows: list[tuple[str, Cell]] = [
        ("name", name if name != live.id else ""),
        ("state", _state(live)),
        *(("" if place else "problem", _problem(one)) for place, one in enumerate(view.needs)),
        ("declared", _declared(view.desired)),
        ("group", view.desired.group or "" if view.desired else ""),
        ("owner", view.desired.owner or "" if view.desired else ""),
        ("api", view.version.value),
        ("schedule", view.schedule),
        ("next run", At(view.next_run_ms) if view.next_run_ms is not None else view.overdue or "-"),
        ("last run", _at(_last_run_ms(view))),
        ("result", result if view.recent is not None else ""),
        ("pause", _pause(live, view.paused_by, view.version, longest=400) if view.paused_by is not None else ""),
        ("error", Span(str(live.failure), Tone.BAD) if live.failure is not None else ""),
        ("runs", str(live.runs) if live.runs is not None else ""),
        ("strategy", strategy_text(live.strategy, live.strategy_name) if live.strategy is not None else ""),
        ("value", f"{value} USD" if (value := _value(facts)) else ""),
        ("archived", "yes" if facts.archived else ""),
        ("trading", ", ".join(f"{name} {value}" for name, value in facts.trading)),
    ]
    return tuple((name, value) for name, value in rows if value)


def _value(facts: PortfolioFacts) -> str | None:
    """Return what a portfolio holds, with cents; ``None`` where nobody knows."""
    return None if facts.signs.value_usd is None else f"{facts.signs.value_usd:.2f}"


def _problem(one: Needed) -> Cell:
    """Return a need in words; of a pause that holds, how it is released, since its reason is told anyway."""
    if one.need is Need.HELD:
        return sentence(f"held: it stays paused; `reconciler plan --resume-held {one.id}` shows what a release does")
    return f"{one.need.text}: {need_effect(one).shared}"


def _declared(desired: Desired | None) -> Cell:
    if desired is None:
        return "no"
    origin = desired.origin
    return (f"{desired.state.value}, ", code(f"{origin.file}:{origin.line}")) if origin is not None else desired.state


def _rebalances(view: PortfolioView, recent: tuple[LastRebalance, ...]) -> tuple[Block, ...]:
    if not recent:
        unlisted = "Glider's v2 API lists no rebalances; only one that was requested from here is known, by its id."
        return (Lines((unlisted if view.live.strategy or view.version.value == "v2" else "No rebalances yet.",)),)
    columns = (Column("Started"), Column("Result"), Column("Took"), Column("ID", keep=1), Column("Detail"))
    table = Rows(columns=columns, rows=tuple(map(_rebalance_row, recent)), parts=(Part("Rebalances"),), headed=True)
    return Heading(f"Last {plural(len(recent), 'rebalance')}"), table


def _rebalance_row(one: LastRebalance) -> Row:
    rebalance = one.rebalance
    if rebalance is None:
        return Row(("-", _result(one), "-", "-", str(one.failure or "")))
    details = (
        str(one.failure) if one.failure is not None else "",
        rebalance.why if one.went_wrong else rebalance.error or "",
        f"gas {rebalance.gas_used}" if rebalance.gas_used else "",
        f"transaction {rebalance.transaction}" if rebalance.transaction else "",
    )
    told = "; ".join(text for text in details if text)
    return Row((_at(rebalance.begun_ms), _result(one), took(rebalance), code(rebalance.id), told))


def _last_run_ms(row: StatusRow | PortfolioView) -> int | None:
    """Return when it last ran: by its schedule, or by a rebalance by hand, which needs no schedule."""
    known = list(row.live.scheduled_ms[:1])
    rebalance = row.last.rebalance if row.last is not None else None
    if rebalance is not None:
        known += [ms for ms in (rebalance.scheduled_ms, rebalance.started_ms) if ms is not None][:1]
    return max(known, default=None)


def _gas(known: Iterable[Rebalance | None]) -> int | None:
    """Return the units of gas that the newest of these used, as far as it is told."""
    return next((int(one.gas_used) for one in known if one is not None and one.gas_used), None)


def _pause(live: Live, by: PausedBy, api: ApiVersion, *, longest: int) -> str:
    """Return whose pause it is, and its reason without our mark, if that says more."""
    match by:
        case PausedBy.US:
            reason = declarable_reason(live.pause_reason) or ""
            whose = "paused by us"
        case PausedBy.OTHERS:
            reason = live.pause_reason or ""
            whose = "paused by somebody else"
        case PausedBy.UNKNOWN:
            reason = "no reason given" if api.can.keeps_reason else ""
            whose = "paused, nobody knows by whom"
        case _:
            assert_never(by)
    return f"{whose}: {harmless(reason, longest=longest)}" if reason else whose


def _at(ms: int | None, now_ms: int | None = None) -> Cell:
    return At(ms, now_ms) if ms is not None else "-"


def _state(live: Live) -> Span:
    """Return the status as the service spelled it."""
    word = live.word or live.status.value.replace("_", " ")
    return Span(harmless(word, longest=24), TONES[live.status])


def _result(last: LastRebalance | None) -> Piece:
    """Return how the last rebalance ended: a word, ``-`` if there was none, ``?`` if Glider does not tell."""
    if last is None:
        return UNVERIFIED
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


def _note(row: StatusRow) -> str:
    last, needs = row.last, {one.need: need_effect(one).text for one in row.needs}
    if Need.OVERDUE in needs:
        needs[Need.OVERDUE] = row.overdue
    told = list(needs.values())
    if last is not None and last.failure is not None:
        told.append(f"the last result can't be read: {last.failure}")
    if row.paused_by is not None and not needs.keys() & {Need.HELD, Need.HALTED}:
        told.append(_pause(row.live, row.paused_by, row.desired.api, longest=100))
    if Need.OVERDUE not in needs and row.overdue:
        told.append(row.overdue)
    return "; ".join(told)


def status_document(row: StatusRow) -> dict[str, Any]:
    """Return a row as JSON values."""
    known = [
        {**picked(kept.rebalance, "id", "status", "begun_at", "ended_at"), **picked(kept, "read_at")}
        for kept in row.results
    ]
    return {
        **_live_document(row),
        **picked(row.desired, "name", "group", "owner"),
        "needs": [one.need.value for one in row.needs],
        "last_rebalance": _last_document(row.last) if row.last is not None else None,
        "results": known,
        "error": picked(row.live, "failure")["failure"],
    }


def portfolio_document(view: PortfolioView) -> dict[str, Any]:
    """Return one portfolio as JSON values."""
    live, facts = view.live, view.facts
    known = {"name": facts.name or live.name, "value_usd": _value(facts), **picked(facts, "archived")}
    return {
        **_live_document(view),
        "name": view.desired.name if view.desired else None,
        "api": view.version.value,
        "declared": view.desired.state.value if view.desired else None,
        "needs": [one.need.value for one in view.needs],
        "portfolio": {**known, "trading_settings": dict(facts.trading)},
        "rebalances": [_last_document(one) for one in view.recent] if view.recent is not None else None,
        "errors": [str(failure) for failure in (live.failure, *view.failures) if failure is not None],
    }


def _live_document(row: StatusRow | PortfolioView) -> dict[str, Any]:
    interval, offset = known_interval(row.live, row.record), known_offset(row.live, row.record)
    last_ms = _last_run_ms(row)
    return {
        **picked(row.live, "id", "status", "word"),
        "interval": {"ms": interval.value, **picked(interval, "provenance")},
        "offset": {"ms": offset.value, **picked(offset, "provenance")},
        **picked(row, "next_run_at", "due_at", "paused_by", "overdue_ms"),
        "last_run_at": iso(last_ms) if last_ms is not None else None,
        **picked(row.live, "runs", "pause_reason", "strategy", "strategy_name", "schedule_id"),
    }


def _last_document(last: LastRebalance) -> dict[str, Any]:
    """Return a last rebalance, and how well it is known, as JSON values."""
    return {
        **picked(last, "knowledge"),
        "failed": last.went_wrong,
        "rebalance": rebalance_document(last.rebalance),
        "error": picked(last, "failure")["failure"],
    }
