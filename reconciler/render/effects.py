"""What a change does, in a few words, the same for terminal and Markdown.

In: a change, or what a plan leaves alone. Out: a :class:`Phrase`, in two parts: one that many portfolios may share, so
that they fold into one line, and one about this portfolio alone. Also other sentences about a plan. Nothing here is
escaped; the writers do that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.change import (
    Blocked,
    BlockReason,
    Cause,
    Change,
    ChangeReason,
    Field,
    FieldChange,
    Halted,
    Held,
    Moved,
    Overdue,
    Risk,
)
from reconciler.core.cost import runs_a_day, runs_of, usd
from reconciler.core.evidence import runs_per_day
from reconciler.core.forms import AUTO
from reconciler.core.model import Cadence, Desired, PausedBy, Provenance, RunState, Status, Verb, Verdict, strategy_of
from reconciler.core.plan import Guarded, JournalState, Plan
from reconciler.core.rebalance import Rebalance
from reconciler.core.text import format_duration, harmless, plural, rough_duration
from reconciler.render.page import UNVERIFIED, Group, code, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.core.change import Frozen, StrategyName
    from reconciler.core.model import Address, ApiVersion
    from reconciler.core.needs import LeftAlone, Needed
    from reconciler.core.plan import Summary
    from reconciler.render.page import Piece

CAUSES: Final[Mapping[Cause, Group]] = {
    Cause.BRANCH: Group("This branch", "this branch"),
    Cause.BOTH: Group("This branch, where live differs from the base, too", "this branch and drift"),
    Cause.DRIFT: Group("Drift: live moved, the files did not", "drift"),
    Cause.PENDING: Group("Pending: in the base, and not known to have been applied", "pending"),
}
"""The headline of each cause, in the order of display: first what a reviewer of the branch has to approve."""
_LATE: Final = "did not run when it was due"
_NAMED: Final = 5
"""Up to this many missing shares are named."""


class Phrase(Struct, frozen=True):
    """``shared`` is the same for all portfolios that change in the same way; ``own`` is about this one only."""

    shared: str
    own: str = ""
    whole: str = ""
    """Both together, unless that is just one after the other."""

    @property
    def text(self) -> str:
        """Return both parts as one phrase."""
        if self.whole:
            return self.whole
        return f"{self.shared}, {self.own}" if self.own and self.shared else self.shared or self.own


def effect(change: Change) -> Phrase:
    """Return what a change does to one portfolio, or to a strategy and all that it reaches."""
    offset = format_duration(change.after.offset_ms) if change.after.offset_ms is not None else ""
    if not change.auto_offset:
        return _effect(change, offset)
    # Each has another offset then, so only the word can be shared.
    found = _effect(change, AUTO)
    return replace(found, whole=_effect(change, f"{offset} ({AUTO})").text)


def _effect(change: Change, offset: str) -> Phrase:
    """Return the same, with this text for the wanted offset."""
    if change.of_strategy is not None:
        more = "trades more often" if Risk.MORE_RUNS in change.risks else ""
        return Phrase(_joined(cadence_text(change), reach_text(change), _rate_of_all(change), more))
    match change.verb:
        case Verb.START:
            return Phrase(_joined(_every(change, offset), _rate(change), _warnings(change)))
        case Verb.RESUME:
            every = _every(change, offset) or _cadence(change)
            schedule = _differences(change, offset) if change.writes_schedule else every
            return Phrase(_joined(schedule, _resumed(change), _warnings(change)))
        case Verb.UPDATE:
            moves = f"moves the next run ({moment(change.next_run_ms)})" if change.next_run_ms is not None else ""
            return Phrase(_joined(_differences(change, offset), _rate(change), _warnings(change)), moves)
        case Verb.PAUSE:
            drops = f"cancels the next run ({moment(change.next_run_ms)})" if change.next_run_ms is not None else ""
            return Phrase(change.note or "declared paused", drops)
        case _:
            assert_never(change.verb)


def called(address: Address) -> str:
    """Return how a portfolio or strategy is named for people: ``ao04x0r6``, ``strategy 01JWZ…``."""
    strategy = strategy_of(address)
    return address if strategy is None else f"strategy {strategy}"


def cadence_text(change: Change) -> str:
    """Return ``schedule daily → weekly`` for a strategy's change, with ``?`` for a live side that can't be known."""
    (field,) = change.fields
    how = " (recorded)" if field.provenance is Provenance.RECORDED else ""
    return f"schedule {field.live or UNVERIFIED}{how} → {field.desired}"


def reach_text(change: Change) -> str:
    """Return how many portfolios a strategy's change reaches, in words."""
    if change.reach is None:
        return "reaches an unknown number of portfolios"
    return f"reaches {plural(change.reach, 'portfolio')}"


def _rate_of_all(change: Change) -> str:
    """Return the runs a day of all portfolios that a strategy's change reaches; ``""`` if none run or it is unknown."""
    after = runs_a_day(change, change.after.cadence)
    if not after:
        return ""
    before = runs_a_day(change, change.before.cadence)
    about = "about " if Cadence.MONTHLY in (change.before.cadence, change.after.cadence) else ""
    return f"{about}{f'{number(before)} → ' if before is not None else ''}{number(after)} runs a day"


def held_effect(held: Held) -> Phrase:
    """Return why a portfolio is held, as the part that others may share, and its last run, if that is known."""
    match held.paused_by:
        case PausedBy.OTHERS:
            why = f"paused by somebody else: {_pause_reason(held.pause_reason, held.api)}"
        case PausedBy.UNKNOWN | PausedBy.US:
            why = "paused, nobody knows by whom: this journal has no record of a pause of ours"
        case _:
            assert_never(held.paused_by)
    last = [f"last run {moment(held.last_run_ms)}"] if held.last_run_ms is not None else []
    return Phrase(why, ", ".join([*last, *asked_of(held)]))


def halted_effect(halted: Halted) -> Phrase:
    """Return which halt keeps something as it is, and what waits for its lift."""
    why = f" ({halted.reason})" if halted.reason else ""
    told = f"{halted.waits} waits for the lift of" if halted.waits is not None else "paused by"
    return Phrase(f"{told} halt {halted.halt}{why}", ", ".join(asked_of(halted)))


def overdue_effect(overdue: Overdue) -> Phrase:
    """Return for how long a portfolio has been overdue, since when, and whom to ask."""
    own = ", ".join((f"was due {moment(overdue.due_ms)}", *asked_of(overdue)))
    return Phrase(_LATE, own, f"{overdue_text(overdue.overdue_ms)}, {own}")


def overdue_text(overdue_ms: int) -> str:
    """Return ``overdue by 9d``."""
    return f"overdue by {rough_duration(overdue_ms)}"


def left_effect(one: LeftAlone) -> Phrase:
    """Return why a plan leaves something alone."""
    match one:
        case Overdue():
            return overdue_effect(one)
        case Held():
            return held_effect(one)
        case Halted():
            return halted_effect(one)
        case Blocked():
            return Phrase(one.detail, *asked_of(one))
        case Moved():
            return Phrase(moved_text(one), *asked_of(one))
        case _:
            assert_never(one)


def needs_effect(needs: Iterable[Needed]) -> Phrase:
    """Return why a person has to look at a portfolio, with all its reasons, and the words that others may share."""
    told = [(need_text(one), one.about) for one in needs]
    own = [overdue_text(about.overdue_ms) if isinstance(about, Overdue) else text for text, about in told]
    return Phrase("; ".join(text for text, _ in told), whole="; ".join(own))


def need_text(found: Needed) -> str:
    """Return one reason to look at a portfolio, in words that others may share."""
    match found.about:
        case Rebalance():
            return harmless(found.about.error or f"the last rebalance {found.about.why}", longest=100)
        case Desired():
            return f"declared until {found.about.until}"
        case _:
            return left_effect(found.about).shared


def asked_of(one: LeftAlone) -> tuple[str, ...]:
    """Return whom the files name to be asked about a portfolio."""
    return (f"owner {one.owner}",) if one.owner is not None else ()


def journal_notice(plan: Plan) -> str:
    """Return a warning for the top of the page if no journal could tell who paused what is held; else ``""``."""
    count = sum(held.paused_by is PausedBy.UNKNOWN for held in plan.held)
    match plan.journal:
        case JournalState.IN_USE:
            return ""
        case JournalState.NEW:
            why = "The journal is new"
        case JournalState.MISSING:
            why = "There is no journal"
        case _:
            assert_never(plan.journal)
    if not count:
        return ""
    held = len(plan.held)
    what = f"{count} of the {held} held portfolios" if count < held else f"the {held} held portfolios"
    what = "the held portfolio" if held == 1 else what
    return (
        f"{why}, so nobody knows who paused {what}. `reconciler journal import FILE` brings back what an export kept."
    )


def live_at(plan: Plan) -> tuple[Piece, ...]:
    """Return which service the plan was compared with, and when that was if live files tell of it."""
    if plan.as_of_ms is None:
        return "live at ", code(plan.base_url)
    by = f" in {plan.shares.of} shares" if plan.shares is not None and plan.shares.of > 1 else ""
    return f"live as of {moment(plan.as_of_ms)} at ", code(plan.base_url), f", read earlier{by}"


def incomplete_notice(plan: Plan) -> str:
    """Return a warning for the top of the page if live files lack a share, or what is selected; else ``""``."""
    if all(excess.guarded is not Guarded.INCOMPLETE for excess in plan.over) or plan.shares is None:
        return ""
    unread = [one for one in plan.blocked if one.reason is BlockReason.NOT_READ]
    strategies = sum(strategy_of(one.id) is not None for one in unread)
    counts = [plural(len(unread) - strategies, "portfolio")] if len(unread) > strategies or not strategies else []
    counts += [plural(strategies, "strategy")] if strategies else []
    count = f"{' and '.join(counts)} {'was' if len(unread) == 1 else 'were'} not read"
    if not plan.shares.missing:
        return f"Incomplete: {count}, because the live files do not hold them."
    missing, of = plan.shares.missing, plan.shares.of
    named = ", ".join(f"{number}/{of}" for number in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    are = "share is" if len(missing) == 1 else "shares are"
    return f"Incomplete: {len(missing)} {are} missing ({named}{more}), so {count}."


def net_effect(plan: Plan) -> str:
    """Return a line with the runs a day of all that changes, strategies included; ``""`` if nothing can be said."""
    runs = runs_of(plan)
    if runs is None or not runs.portfolios:
        return ""
    missing = []
    if runs.portfolios_unknown:
        missing.append(f"{plural(runs.portfolios_unknown, 'portfolio')} whose live interval is unknown")
    if runs.strategies_unknown:
        missing.append(f"{plural(runs.strategies_unknown, 'strategy')} whose portfolios could not be counted")
    unknown = f", not counting {' and '.join(missing)}" if missing else ""
    monthly = any(Cadence.MONTHLY in (change.before.cadence, change.after.cadence) for change in plan.cadences)
    about = "about " if monthly else ""  # how long a month is, Glider does not document
    before, after = number(runs.before_runs_day), number(runs.after_runs_day)
    return f"The portfolios that change run {about}{before} → {after} times a day{unknown}."


def writes_unverified(plan: Plan) -> bool:
    """Whether the plan writes a schedule without knowing what it replaces."""
    return any(
        change.writes_schedule and any(field.verdict is Verdict.UNVERIFIED for field in change.fields)
        for change in plan.changes
    )


def cost_effect(plan: Plan) -> str:
    """Return a line with runs and costs of all portfolios with a declared cost; ``""`` if there are none."""
    cost = plan.cost
    if cost is None:
        return ""
    unknown = cost.portfolios - cost.portfolios_known
    if not cost.portfolios_known:
        return f"Cost: not known; the live interval of {plural(unknown, 'portfolio')} with a declared cost is unknown."
    of = "" if not unknown else f", not counting {unknown} whose live interval is unknown"
    return (
        f"Cost: {usd(cost.before_usd_month)} → {usd(cost.after_usd_month)} USD in 30 days, "
        f"{number(cost.before_runs_day)} → {number(cost.after_runs_day)} runs a day, "
        f"of {plural(cost.portfolios_known, 'portfolio')} with a declared cost{of}."
    )


def field_text(change: FieldChange, offset: str = "") -> str:
    """Return one field's difference: ``interval 24h → 12h``, with its provenance unless Glider returned the value.

    ``offset`` is the text of a wanted offset where it is more than a duration.
    """
    if change.field is Field.STATE:
        return f"{change.live} → {change.desired}"
    name = change.field.value.removesuffix("_ms")
    desired = offset if offset and change.field is Field.OFFSET else format_duration(int(change.desired))
    if change.verdict is Verdict.UNVERIFIED:
        return f"{name} {UNVERIFIED} → {desired}"
    live = format_duration(int(change.live)) if change.live is not None else "none"
    match change.provenance:
        case Provenance.READ | Provenance.NONE:
            how = ""
        case Provenance.RECORDED:
            how = " (recorded)"
        case Provenance.OBSERVED:
            recorded = f", recorded {format_duration(change.overruled)}" if change.overruled is not None else ""
            how = f" (observed{recorded})"
        case _:
            assert_never(change.provenance)
    return f"{name} {live} → {desired}{how}"


def _differences(change: Change, offset: str) -> str:
    return ", ".join(
        field_text(f, offset) for f in change.fields if f.field is not Field.STATE and f.verdict is not Verdict.SAME
    )


def _every(change: Change, offset: str) -> str:
    if change.after.interval_ms is None:
        return ""
    text = f"every {format_duration(change.after.interval_ms)}"
    return f"{text}, offset {offset}" if offset else text


def _cadence(change: Change) -> str:
    """Return how often a v2 portfolio runs, by its strategy's cadence."""
    return f"every {format_duration(change.cadence_ms)}" if change.cadence_ms is not None else ""


def _pause_reason(reason: str | None, api: ApiVersion) -> str:
    unknown = "no reason given" if api.can.keeps_reason else f"{api} keeps no reason"
    return harmless(reason or unknown, longest=80)


def _rate(change: Change) -> str:
    wanted, known = change.after.interval_ms, change.before.interval_ms
    if wanted is None or wanted == known:
        return ""
    after = number(runs_per_day(wanted))
    if known is not None:
        return f"{number(runs_per_day(known))} → {after} runs a day"
    return f"{after} run a day" if after == "1" else f"{after} runs a day"


def _resumed(change: Change) -> str:
    match change.reason:
        case ChangeReason.HOLD_OVERRIDDEN:
            if change.pause_reason:
                return f"paused by somebody else: {_pause_reason(change.pause_reason, change.api)}"
            return "paused, nobody knows by whom"
        case ChangeReason.HALT_LIFTED:
            return f"paused by halt {change.halt}"
        case _:
            return "paused by us"


def _warnings(change: Change) -> str:
    words = {
        Risk.RUNS_AT_ONCE: "runs at once",
        Risk.DUE_AT_ONCE: "makes a rebalance due at once",
        Risk.OFFSET_RESET: "offset → 0 (not declared)",
        Risk.HOLD_OVERRIDDEN: "hold overridden",
    }
    return ", ".join(words[risk] for risk in change.risks if risk in words)


def strategy_text(strategy: str, name: str | None) -> str:
    """Return how a strategy is named for people: ``Momentum (01JWZ…)``, or its id alone."""
    found = harmless(strategy, longest=60)
    return f"{harmless(name, longest=28)} ({found})" if name else found


def followed(strategy: StrategyName) -> str:
    """Return how a strategy is named, with the interval that it gives a portfolio, if that is known."""
    every = f", every {format_duration(strategy.interval_ms)}" if strategy.interval_ms is not None else ""
    return f"{strategy_text(strategy.strategy, strategy.name)}{every}"


def moved_text(moved: Moved) -> str:
    """Return which strategy a portfolio follows, and which one the files declare."""
    waits = moved.state is RunState.ACTIVE and moved.status is Status.PAUSED
    stays = ", paused, and not resumed there" if waits else ""
    return f"follows strategy {followed(moved.live)}, not {followed(moved.declared)} as declared{stays}"


def number(value: float) -> str:
    """Return a rate with as many digits as it needs: ``24``, ``1.5``, ``0.14``."""
    if value >= 10 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def summary_line(summary: Summary) -> str:
    """Return the line of counts that scripts and people look for; its form is stable."""
    return (
        f"Plan: {summary.start} to start, {summary.resume} to resume, {summary.pause} to pause, "
        f"{summary.update} to update. {summary.no_op} unchanged, {summary.held} held, {summary.blocked} blocked."
    )


def overdue_line(plan: Plan) -> str:
    """Return the line that counts what is overdue, ``""`` if nothing is; its form is stable."""
    return f"Overdue: {plural(len(plan.overdue), 'portfolio')}." if plan.overdue else ""


def halted_line(plan: Plan) -> str:
    """Return the line that counts what is halted, ``""`` if nothing is; its form is stable."""
    portfolios = plan.summary.halted
    strategies = len(plan.halted) - portfolios
    counts = ((portfolios, "portfolio"), (strategies, "strategy"))
    return f"Halted: {', '.join(plural(count, noun) for count, noun in counts if count)}." if plan.halted else ""


def frozen_line(plan: Plan) -> str:
    """Return the line that counts what waits for a freeze, ``""`` if nothing does; its form is stable."""
    found = frozen_changes(plan)
    if not found:
        return ""
    until = moment(max(one.until_ms for one in found))
    return f"Frozen: {plural(len(found), 'change')} {'waits' if len(found) == 1 else 'wait'}, until {until} at most."


def frozen_changes(plan: Plan) -> list[Frozen]:
    """Return why each change waits that waits for a freeze."""
    return [change.frozen for change in plan.changes if change.frozen is not None]


def strategies_line(plan: Plan) -> str:
    """Return the line of counts of strategies, ``""`` if there is nothing to say; its form is stable."""
    found = plan.summary.strategies
    moved = f"Moved to another strategy: {plural(len(plan.moved), 'portfolio')}." if plan.moved else ""
    if not found.update + found.blocked + found.no_op:
        return moved
    counts = f"Strategies: {found.update} to update, {found.no_op} unchanged, {found.blocked} blocked."
    return f"{counts} {moved}".rstrip()


def left_by_lift(plan: Plan, halt: str) -> Iterator[str]:
    """Yield what the lift of a halt leaves as it is, by its plan, and what to do about it."""
    if plan.held:
        names = ", ".join(one.id for one in plan.held[:5]) + (", …" if len(plan.held) > 5 else "")
        yield f"left as they are, because somebody else paused them since: {names}"
    others = [(one.halt, one.waits is not None) for one in plan.halted if one.halt != halt]
    for other, holds in sorted(set(others)):
        count = others.count((other, holds))
        are, stay, them = ("is", "stays", "it") if count == 1 else ("are", "stay", "them")
        if holds:
            way_on = f"{stay} paused, because the halt {other} holds {them}: after its lift, lift {halt} again"
        else:
            way_on = f"{are} in the pause of the halt {other}: `reconciler halt lift {other}`"
        yield f"{plural(count, 'portfolio')} of it {way_on}"
