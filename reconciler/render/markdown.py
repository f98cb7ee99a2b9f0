"""A plan as Markdown, for a comment or a summary page.

In: a :class:`~reconciler.core.plan.Plan`. Out: blocks of a :mod:`~reconciler.render.page`, or a whole page of them.
What needs a look stands first and is cut last; everything else is folded. Data never becomes markup: all of it goes
through :func:`~reconciler.render.page.cell`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.model import PausedBy, Verb, strategy_of
from reconciler.core.plan import Risk
from reconciler.core.planfile import fingerprint
from reconciler.core.text import plural
from reconciler.render.effects import (
    BLOCKED_SYMBOL,
    HELD_SYMBOL,
    SYMBOLS,
    UNVERIFIED_SYMBOL,
    by_cause,
    cost_effect,
    effect,
    held_effect,
    held_text,
    journal_notice,
    net_effect,
    writes_unverified,
)
from reconciler.render.page import (
    BAD,
    FINE,
    LOOK,
    OPEN_REST,
    PENDING,
    Rows,
    alert,
    cell,
    code,
    count_table,
    opened,
    page,
    table,
)
from reconciler.render.strategies import MOVED, moved_blocks, strategies_line
from reconciler.render.style import moment
from reconciler.render.unmanaged import unmanaged_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.model import Address
    from reconciler.core.plan import Change, Held, Plan

ACTIONS: Final = ("Action", "Portfolio", "Name", "Effect")
DANGERS: Final[Mapping[Risk, str]] = {
    Risk.HOLD_OVERRIDDEN: "overrides a hold",
    Risk.RUNS_AT_ONCE: "trades at once",
    Risk.DUE_AT_ONCE: "due to trade at once",
    Risk.TRADES_AGAIN: "begins or goes on to trade",
    Risk.MORE_RUNS: "trades more often",
}
"""The risks for which a change needs a look, the gravest first. The others are told in its effect: where no schedule
can be read, nearly every change has them."""

GRAVE: Final = frozenset({Risk.HOLD_OVERRIDDEN, Risk.RUNS_AT_ONCE, Risk.DUE_AT_ONCE})
"""The dangers that trade at once, or against what a person did by hand."""


def plan_markdown(plan: Plan, *, limit_bytes: int | None = None) -> str:
    """Return verdict, counts, guards, what needs a look, the rest, and the fingerprint; ``limit_bytes`` at most."""
    sign, words = plan_verdict(plan)
    footer = f"<sub>{source_line(plan)}, fingerprint `{fingerprint(plan)}`</sub>"
    return page([f"### {sign} Plan: {words}", *plan_blocks(plan), footer], limit_bytes=limit_bytes)


def plan_verdict(plan: Plan) -> tuple[str, str]:
    """Return sign and words that say at a glance what is asked of a reader."""
    changes, blocked = len(plan.changes), len(plan.blocked)
    # What could not be read is not known to be unchanged.
    words = [plural(changes, "change")] if changes else [] if blocked else ["no changes"]
    words += [f"{len(plan.held)} held"] if plan.held else []
    words += [f"{len(plan.moved)} moved"] if plan.moved else []
    words += [f"{blocked} blocked"] if blocked else []
    words += ["over a guard"] if plan.over else []
    if blocked or plan.over:
        return BAD, ", ".join(words)
    if plan.held or plan.moved or any(map(_needs_look, plan.changes)):
        return LOOK, ", ".join(words)
    return (PENDING if changes else FINE), ", ".join(words)


def source_line(plan: Plan) -> str:
    """Return how many portfolios were compared with what."""
    read = f" as read {moment(plan.as_of_ms)}, can't be applied" if plan.as_of_ms is not None else ""
    part = "" if plan.selection.everything else " selected"
    account = f", account {code(plan.account)}" if plan.account is not None else ""
    counted = f"{plan.managed:,}{part} portfolio{'' if plan.managed == 1 else 's'}"
    return f"{counted}, live at {code(plan.base_url)}{account}{read}"


def plan_blocks(plan: Plan) -> list[str | Rows]:
    """Return the blocks of a plan under its headline."""
    blocks: list[str | Rows] = []
    if plan.as_of_ms is not None:
        blocks.append(f"**Live as of {moment(plan.as_of_ms)}, read earlier: can't be applied.**")
    if notice := journal_notice(plan):
        blocks.append(alert("IMPORTANT", (notice,)))
    blocks.append(_counts(plan))
    if plan.over:
        blocks.append(alert("CAUTION", (f"**Over a guard:** {cell(str(excess))}." for excess in plan.over)))
    if dangers := _dangers(plan):
        blocks.append(f"**Look first:** {dangers}.")
    blocks += [f"**{line}**"] if (line := strategies_line(plan)) else []
    rest: list[Rows] = []
    groups = by_cause(plan.changes)
    for title, group in groups:
        blocks += [f"#### {title} ({len(group):,})"] if title else []
        risky = sorted((c for c in group if _needs_look(c)), key=_gravity)
        others = sorted((c for c in group if not _needs_look(c)), key=_gravity)
        blocks += opened("Needs a look", ACTIONS, map(_row, risky), count=len(risky), rank=0)
        if others:
            name = "Everything else" if risky or plan.held or plan.moved or plan.blocked else "Changes"
            long = len(others) > OPEN_REST
            found = table(name, ACTIONS, map(_row, others), count=len(others), rank=2, folded=long)
            (blocks if title else rest).append(found)
    blocks += not_changed(plan)
    return [*blocks, *rest, *unmanaged_blocks(plan), *_notes(plan)]


def not_changed(plan: Plan) -> Iterator[Rows]:
    """Yield what is held, what has moved and what is blocked."""
    blocked = (
        (f"`{BLOCKED_SYMBOL}`&nbsp;blocked", label_code(b.id), cell(b.name or ""), cell(b.detail)) for b in plan.blocked
    )
    columns = (*ACTIONS[:3], "Why")
    yield from _held_tables(plan.held)
    yield from moved_blocks(plan)
    yield from opened("Blocked", columns, blocked, count=len(plan.blocked), rank=0)


def _held_tables(held: Sequence[Held]) -> Iterator[Rows]:
    """Yield what is held; all of which nobody knows who paused it folded together, where that is much."""
    columns = (*ACTIONS[:3], "Why")
    unknown = [one for one in held if one.paused_by is PausedBy.UNKNOWN]
    folded = unknown if len(unknown) > OPEN_REST else []
    if folded:
        title = f"Held: {held_effect(folded[0]).shared}"
        yield table(title, columns, map(_held_row, folded), count=len(folded), rank=1, folded=True)
    others = [one for one in held if not folded or one.paused_by is not PausedBy.UNKNOWN]
    yield from opened("Held", columns, map(_held_row, others), count=len(others), rank=0)


def _held_row(held: Held) -> tuple[str, ...]:
    return f"`{HELD_SYMBOL}`&nbsp;held", code(held.id), cell(held.name or ""), cell(held_text(held))


def danger(change: Change) -> Risk | None:
    """Return the gravest thing that a change risks, ``None`` where it makes nothing trade, sooner or more often."""
    found = next((risk for risk in DANGERS if risk in change.risks), None)
    return Risk.TRADES_AGAIN if found is None and change.verb in (Verb.START, Verb.RESUME) else found


def _needs_look(change: Change) -> bool:
    """Whether a reviewer should look at a change by itself: it makes something trade, or holds for many at once."""
    return change.of_strategy is not None or danger(change) is not None


def _gravity(change: Change) -> tuple[bool, int, bool, int, int]:
    """Order changes: strategies, then by the gravest danger, by how many portfolios they reach (an unknown number
    being the most), by how many other risks there are; by id where these are equal."""
    found = danger(change)
    rank = list(DANGERS).index(found) if found is not None else len(DANGERS)
    return change.of_strategy is None, rank, change.reach is not None, -(change.reach or 0), -len(change.risks)


def _dangers(plan: Plan) -> str:
    found = [(sum(risk in change.risks for change in plan.portfolios), words) for risk, words in DANGERS.items()]
    faster = sum(Risk.MORE_RUNS in change.risks for change in plan.cadences)
    found.append((faster, "strategies that trade more often"))
    return ", ".join(f"{words} **{count:,}**" for count, words in found if count)


def _counts(plan: Plan) -> str:
    summary = plan.summary
    verbs = {Verb.START: summary.start, Verb.RESUME: summary.resume, Verb.UPDATE: summary.update}
    counts = {f"`{SYMBOLS[verb]}` {verb.value}": count for verb, count in {**verbs, Verb.PAUSE: summary.pause}.items()}
    counts |= {f"`{HELD_SYMBOL}` held": summary.held, f"`{BLOCKED_SYMBOL}` blocked": summary.blocked}
    return count_table({**counts, "unchanged": summary.no_op})


def _notes(plan: Plan) -> list[str]:
    notes = []
    if not (plan.changes or plan.held or plan.moved or plan.blocked):
        notes.append("Nothing to do: live automation is as declared.")
    notes += [line for line in (net_effect(plan), cost_effect(plan)) if line]
    if writes_unverified(plan):
        notes.append(
            f"`{UNVERIFIED_SYMBOL}`: Glider does not return this value. One write settles it; it is remembered."
        )
    if plan.held:
        notes.append("Held stays paused. Release one with `--resume-held ID`, or `hold: override` in its file.")
    notes += [MOVED] if plan.moved else []
    return ["<br>\n".join(notes)] if notes else []


def _row(change: Change) -> tuple[str, ...]:
    return action(change.verb), label_code(change.id), cell(change.name or ""), cell(effect(change).text)


def label_code(address: Address) -> str:
    """Return how a portfolio or strategy is named for people, its id as code."""
    strategy = strategy_of(address)
    return code(address) if strategy is None else f"strategy {code(strategy)}"


def action(verb: Verb) -> str:
    """Return symbol and word of a verb."""
    return f"`{SYMBOLS[verb]}`&nbsp;{verb.value}"
