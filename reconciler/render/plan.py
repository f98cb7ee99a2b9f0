"""The pages of a plan and of an apply. What needs a look stands apart, and equal rows are folded into one.

In: a :class:`~reconciler.core.plan.Plan` or an :class:`~reconciler.core.report.ApplyReport`. Out: a
:class:`~reconciler.render.page.Page`, the sentences of a plan by themselves, or JSON values.
"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec.structs import replace

from reconciler.core.change import Risk
from reconciler.core.fleet import Listing
from reconciler.core.model import Verb, strategy_of
from reconciler.core.needs import left_alone
from reconciler.core.plan import Guarded
from reconciler.core.planfile import fingerprint
from reconciler.core.report import ACHIEVED, Outcome
from reconciler.core.text import DAY_MS, plural
from reconciler.render.effects import (
    CAUSES,
    cost_effect,
    effect,
    frozen_changes,
    frozen_line,
    halted_line,
    incomplete_notice,
    journal_notice,
    left_effect,
    live_at,
    net_effect,
    overdue_line,
    strategies_line,
    summary_line,
    writes_unverified,
)
from reconciler.render.json import picked
from reconciler.render.load import load_lines
from reconciler.render.page import (
    NAME,
    OPEN_REST,
    Alone,
    Column,
    Counts,
    Group,
    Lines,
    Notice,
    Page,
    Part,
    Row,
    Rows,
    Span,
    Tone,
    cause,
    code,
    marked,
    moment,
    sentence,
    toned,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.change import Change
    from reconciler.core.model import Address
    from reconciler.core.plan import Plan, Summary
    from reconciler.core.report import ApplyReport, Result
    from reconciler.render.page import Block, Cell, Piece

DANGERS: Final[Mapping[Risk, str]] = {
    Risk.HOLD_OVERRIDDEN: "overrides a hold",
    Risk.RUNS_AT_ONCE: "trades at once",
    Risk.DUE_AT_ONCE: "due to trade at once",
    Risk.TRADES_AGAIN: "starts or resumes trading",
    Risk.MORE_RUNS: "trades more often",
}
"""The risks that call for a look, the gravest first. Other risks are only told in the effect of a change: if no
schedule can be read, nearly every change has them."""
GRAVE: Final = frozenset({Risk.HOLD_OVERRIDDEN, Risk.RUNS_AT_ONCE, Risk.DUE_AT_ONCE})
"""The dangers of trading at once, or of undoing what a person did by hand."""


RESULT_WIDTHS: Final = (len("not attempted"), len("> resume"))
"""The widths of the first cells of :func:`result_cells`, whose lines are printed one by one."""

_UNMANAGED_SHOWN: Final = 10
"""A terminal names this many without -v: for a team that has just begun, the whole fleet may be unmanaged."""
_SOON_MS: Final = 7 * DAY_MS
"""A plan tells of a freeze that begins within this time."""
_MOVED: Final = (
    " follows another strategy than declared, and no call can change that: declare the one it follows, or enroll it "
    "again. Until then it is not resumed."
)


_HALTED: Final = sentence(
    " portfolios stay as they are until the halt is lifted, whatever is merged: `reconciler halt lift ID`."
)
_OVERDUE: Final = ": active, but Glider did not run it when it was due. No plan can change that; ask Glider."


class _Place(IntEnum):
    """The parts of a plan or a report, in the order of a document: what needs a look comes first, then what needs a
    person, in the order of ``status``."""

    LOOK = 0
    OVERDUE = 1
    HELD = 2
    HALTED = 3
    BLOCKED = 4
    MOVED = 5
    FROZEN = 6
    REST = 7


def plan_page(plan: Plan) -> Page:
    """Return the page of a plan: verdict, counts, guards, what needs a look, the rest, notes. Its end is stable."""
    tone, words = _plan_verdict(plan)
    nothing = "Nothing to do: live automation is as declared." if plan.config_files else "Nothing to do."
    rows = tuple(_table(plan)) or (Lines((nothing,)),)
    return Page(
        title="Plan",
        tone=tone,
        verdict=words,
        notice=sentence(" ".join(filter(None, (incomplete_notice(plan), journal_notice(plan))))),
        about=_about(plan),
        pins=lambda: (("fingerprint ", code(fingerprint(plan))),),
        blocks=(Alone(_at_a_glance(plan)), *rows, *_notes(plan), *_unmanaged(plan)),
        last=(
            *filter(None, (overdue_line(plan), halted_line(plan), frozen_line(plan), strategies_line(plan))),
            summary_line(plan.summary),
        ),
    )


def _plan_verdict(plan: Plan) -> tuple[Tone, str]:
    """Return a tone and words that tell a reader at a glance what there is to do."""
    changes, blocked = len(plan.changes), len(plan.blocked)
    # What could not be read is not known to be unchanged.
    words = [plural(changes, "change")] if changes else [] if blocked else ["no changes"]
    words += [f"{waiting} frozen"] if (waiting := len(frozen_changes(plan))) else []
    words += _left_alone(plan)
    words += ["incomplete"] if any(one.guarded is Guarded.INCOMPLETE for one in plan.over) else []
    words += ["over a guard"] if any(one.guarded is not Guarded.INCOMPLETE for one in plan.over) else []
    if blocked or plan.over:
        return Tone.BAD, ", ".join(words)
    if any(left_alone(plan)) or any(map(_needs_look, plan.changes)):
        return Tone.NOTICE, ", ".join(words)
    return (Tone.CALM if changes else Tone.GOOD), ", ".join(words)


def _about(plan: Plan) -> tuple[Cell, ...]:
    """Return how many portfolios were compared, from which files, and with what."""
    named = len(plan.config_files) == 1
    files: Piece = code(plan.config_files[0]) if named else plural(len(plan.config_files), "file")
    part = "" if plan.selection.everything else " (selected)"
    portfolios = f"{plural(plan.managed, 'portfolio')}{part}"
    counted: Cell = (f"{portfolios} from ", files) if plan.config_files else portfolios
    account: tuple[Cell, ...] = (("account ", code(plan.account)),) if plan.account is not None else ()
    return counted, live_at(plan), *account


def report_page(report: ApplyReport, *, run: int | None = None, title: str = "Apply") -> Page:
    """Return the page of an apply: verdict, counts, results that need a look, what is held or blocked, other results.

    If something is left to do, it says how to go on. ``run`` is the number of this apply in the journal, ``title`` what
    people call it.
    """
    plan, left = report.plan, report.left
    results = sorted(report.results, key=lambda result: -_gravest(result.outcome))
    kept = [replace(row, cells=(row.cells[0], "", *row.cells[1:])) for row in _not_changed(left)]
    counts = {outcome: report.count(outcome) for outcome in Outcome}
    words = [f"{count:,} {outcome.text}" for outcome, count in counts.items() if count]
    good = not plan.blocked and all(result.outcome in ACHIEVED for result in results)
    calm = Tone.NOTICE if any(left_alone(left)) else Tone.GOOD
    table = Rows(
        columns=(Column("Outcome", signs=True), *_columns("What happened")),
        rows=(*map(_result_row, results), *kept),
        parts=_parts("Done", alone=True),
        subject=2,
        logged=True,
    )
    return Page(
        title=title,
        tone=calm if good else Tone.BAD,
        verdict=", ".join([*words, *_left_alone(left)]) or "nothing to do",
        about=_about(plan),
        pins=lambda: (("fingerprint ", code(fingerprint(plan))),),
        blocks=(
            Alone((Counts(tuple((Span(one.text), count) for one, count in counts.items())),)),
            table,
            *_way_on(report, run, again="apply" if title == "Apply" else "command"),
        ),
        last=(f"{title}: {', '.join(f'{count} {outcome.text}' for outcome, count in counts.items())}.",),
    )


def _way_on(report: ApplyReport, run: int | None, *, again: str) -> Iterator[Lines]:
    """Yield what to do next if an outcome is unknown, or if changes were not begun; ``again`` goes on with them, but
    what several runners have carried out has ended."""
    lines: list[Cell] = []
    if unknown := report.count(Outcome.UNKNOWN):
        finds_out = "the next `reconciler apply` finds out before it does anything."
        lines.append(sentence(f"{plural(unknown, 'change')} may or may not have taken effect: {finds_out}"))
    if waiting := len(report.frozen):
        wait, their, them = ("waits", "its", "it") if waiting == 1 else ("wait", "their", "them")
        names = sorted({name for one in report.frozen if one.frozen is not None for name in one.frozen.by})
        flags = " ".join(f"--allow freeze={name}" for name in names)
        what = "a new plan" if report.joined else "the same command"
        goes_on = f"when {their} freeze is over, {what} carries {them} out, and at once with {flags}."
        lines.append(sentence(f"{plural(waiting, 'change')} {wait}: {goes_on}"))
    if left := report.count(Outcome.NOT_ATTEMPTED) - waiting:
        were = "was" if left == 1 else "were"
        what = "only that new plan" if report.joined and not report.leaves else f"the same {again} again"
        shows = f"`reconciler plan` shows what is left to do, and {what} goes on with it."
        lines.append(sentence(f"{plural(left, 'change')} {were} not begun: {shows}"))
    if lines and run is not None:
        lines.append(sentence(f"`reconciler history --run {run}` shows what was sent."))
    if lines:
        yield Lines(tuple(lines))


def result_cells(result: Result) -> tuple[Cell, ...]:
    """Return the line that is shown as soon as one change has its outcome; the plan above it says what it does."""
    return toned(result.outcome.value), marked(result.change.verb), subject_cell(result.change.id), _story(result)


def report_document(report: ApplyReport) -> dict[str, Any]:
    """Return counts by outcome and every change's result as JSON values, sorted by id."""
    plan = report.plan
    return {
        "base_url": plan.base_url,
        "fingerprint": fingerprint(plan),
        **picked(report, "started_at", "finished_at"),
        "summary": {outcome.value: report.count(outcome) for outcome in Outcome},
        "held": [held.id for held in plan.held],
        "halted": [halted.id for halted in plan.halted],
        "moved": [moved.id for moved in plan.moved],
        "overdue": [overdue.id for overdue in report.left.overdue],
        "blocked": [picked(blocked, "id", "reason") for blocked in plan.blocked],
        "results": [
            picked(result.change, "id", "name", "verb", "before", "after", "reach")
            | picked(result, "outcome", "calls", "detail", "notes", "frozen")
            for result in report.results
        ],
    }


def subject_cell(address: Address) -> Cell:
    """Return how a portfolio or strategy is named for people: ``ao04x0r6``, ``strategy 01JWZ…``."""
    strategy = strategy_of(address)
    return code(address) if strategy is None else ("strategy ", code(strategy))


def danger(change: Change) -> Risk | None:
    """Return the gravest risk of a change; ``None`` if it makes nothing trade, nor trade sooner or more often."""
    found = next((risk for risk in DANGERS if risk in change.risks), None)
    return Risk.TRADES_AGAIN if found is None and change.verb in (Verb.START, Verb.RESUME) else found


def _left_alone(plan: Plan) -> list[str]:
    return [f"{count} {need.value}" for need, count in Counter(need for need, _ in left_alone(plan)).items()]


def _at_a_glance(plan: Plan) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if plan.as_of_ms is not None:
        read = f"Live as of {moment(plan.as_of_ms)}, read earlier."
        blocks.append(Lines((Span(read, Tone.STRONG),)))
    if plan.over:
        blocks.append(Notice(Tone.BAD, tuple((Span("Over a guard:", Tone.STRONG), f" {over}.") for over in plan.over)))
    blocks.append(_counts(plan.summary))
    if dangers := _dangers(plan):
        blocks.append(Lines((dangers,)))
    if line := strategies_line(plan):
        blocks.append(Lines((Span(line, Tone.STRONG),)))
    return tuple(blocks)


def _counts(summary: Summary) -> Counts:
    counts = {verb.value: getattr(summary, verb.value) for verb in Verb}
    counts |= {"held": summary.held} | ({"halted": summary.halted} if summary.halted else {})
    counts["blocked"] = summary.blocked
    return Counts((*((marked(word), count) for word, count in counts.items()), (Span("unchanged"), summary.no_op)))


def _dangers(plan: Plan) -> tuple[Piece, ...]:
    """Return a sentence with how many changes have each danger; empty if there is no danger."""
    risks = Counter(risk for change in plan.portfolios for risk in change.risks)
    found = [(risks[risk], words) for risk, words in DANGERS.items()]
    faster = sum(Risk.MORE_RUNS in change.risks for change in plan.cadences)
    found.append((faster, "strategies that trade more often"))
    told: list[Piece] = []
    for count, words in found:
        if count:
            told += [f"{',' if told else ''} {words} ", Span(f"{count:,}", Tone.STRONG)]
    return (Span("Look first:", Tone.STRONG), *told, ".") if told else ()


def _columns(last: str) -> tuple[Column, ...]:
    return Column("Action"), Column("Portfolio"), NAME, Column(last)


def _parts(rest: str, *, alone: bool = False) -> tuple[Part, ...]:
    """Return the parts by :class:`_Place`; ``alone`` says that a terminal has shown what is left alone before."""
    titles = ("Overdue", "Held", "Halted", "Blocked", "Moved to another strategy", "Frozen")
    left = (Part(title, alone=alone) for title in titles)
    return Part("Needs a look"), *left, Part(rest, rank=2, opened=OPEN_REST)


def _table(plan: Plan) -> Iterator[Rows]:
    """Yield the table of a plan where it has any row; with a base the changes are grouped by their cause, and what is
    frozen always stands apart."""
    caused = any(change.cause is not None for change in plan.changes)
    groups = (*(CAUSES.values() if caused else ()), *_frozen_groups(plan))
    if groups and not caused:
        groups = (Group("Changes"), *groups)
    ordered = [change for verb in Verb for change in plan.changes if change.verb is verb]
    rows = [_change_row(change, groups) for change in ordered]
    rows += [replace(row, group=len(groups)) for row in _not_changed(plan)]
    if rows:
        calm = all(row.part == _Place.REST for row in rows)
        yield Rows(
            columns=_columns("Effect"),
            rows=tuple(sorted(rows, key=lambda row: row.group)),
            parts=_parts("Changes" if calm else "Everything else"),
            groups=(*groups, Group("Not changed")) if groups else (),
            grouped="Cause",
            subject=1,
        )


def _frozen_groups(plan: Plan) -> list[Group]:
    """Return the groups of what is frozen, what waits for the shortest time first."""
    order = [None, *CAUSES]
    found = sorted(
        (change.frozen.until_ms, order.index(change.cause), number)
        for number, change in enumerate(plan.changes)
        if change.frozen is not None
    )
    return list(dict.fromkeys(_group_of(plan.changes[number]) for *_, number in found))


def _group_of(change: Change) -> Group:
    found = CAUSES[change.cause] if change.cause is not None else Group("")
    if change.frozen is None:
        return found
    why = str(change.frozen)
    title = f"{why[0].upper()}{why[1:]}{f' ({found.word})' if found.word else ''}"
    return Group(title, ", ".join(filter(None, (found.word, why))))


def _change_row(change: Change, groups: Sequence[Group]) -> Row:
    found = effect(change)
    group = _group_of(change)
    place = _Place.LOOK if _needs_look(change) else _Place.REST
    return Row(
        (marked(change.verb), subject_cell(change.id), change.name or "", found.text),
        name=change.id,
        alike=_with_line(found.shared, change),
        noun=_noun(change.id),
        group=groups.index(group) if group in groups else 0,
        part=_Place.FROZEN if change.frozen is not None else place,
        gravity=_gravity(change),
    )


def _with_line(shared: str, change: Change) -> str:
    """Return what many changes have in common, with the line that their schedule comes from, where it is one line."""
    line = change.source.schedule if change.source is not None and change.writes_schedule else None
    return f"{shared} ({line})" if line is not None else shared


def _needs_look(change: Change) -> bool:
    """Whether a reviewer should look at this change: it makes something trade, or changes many portfolios at once."""
    return change.of_strategy is not None or danger(change) is not None


def _gravity(change: Change) -> tuple[int, ...]:
    """Return the sort key of a change: strategies first, then the gravest danger, then how many portfolios it reaches
    (an unknown number counts as the most), then how many risks it has."""
    found = danger(change)
    rank = list(DANGERS).index(found) if found is not None else len(DANGERS)
    return change.of_strategy is None, rank, change.reach is not None, -(change.reach or 0), -len(change.risks)


def _not_changed(plan: Plan) -> list[Row]:
    """Return the rows of what is overdue, held, halted or blocked, or has moved, in the order of need."""
    return [
        Row(
            (marked(need.value), subject_cell(one.id), one.name or "", why.text),
            name=one.id,
            alike=cause(why.shared),
            noun=_noun(one.id),
            part=_Place[need.name],
            cause=True,
        )
        for need, one in left_alone(plan)
        for why in [left_effect(one)]
    ]


def _noun(address: Address) -> str:
    return "portfolio" if strategy_of(address) is None else "strategy"


def _notes(plan: Plan) -> Iterator[Lines]:
    """Yield the notes below the rows."""
    notes: list[Cell] = []
    if writes_unverified(plan):
        text = "Glider does not return this value. Apply writes it once, and remembers it."
        notes.append(Span(text, symbol="?"))
    if plan.held:
        release = sentence("Release one with --resume-held ID, or `hold: override` in its file.")
        notes.append((Span("Held", symbol="!"), " portfolios stay paused. ", *release))
    notes += [(Span("Halted", symbol="!"), *_HALTED)] if plan.halted else []
    if frozen_changes(plan):
        let = sentence("Apply them when their freeze is over, or let them through with --allow freeze=NAME.")
        notes.append((Span("Frozen", symbol="!"), " changes wait. ", *let))
    notes += _soon_frozen(plan)
    notes += [(Span("Overdue", symbol="!"), _OVERDUE)] if plan.overdue else []
    notes += [(Span("Moved", symbol="!"), _MOVED)] if plan.moved else []
    notes += [line for line in (net_effect(plan), cost_effect(plan)) if line]
    notes += load_lines(plan.load)
    if notes:
        yield Lines(tuple(notes), Tone.QUIET)


def _soon_frozen(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each freeze that begins soon and would make changes of the plan wait."""
    waiting = Counter(window for change in plan.changes for window in change.freezes)
    for window, count in sorted(waiting.items(), key=lambda one: one[0].from_ms):
        if plan.created_ms < window.from_ms <= plan.created_ms + _SOON_MS:
            yield f"The freeze {window.name} holds from {window}: {plural(count, 'change')} of this plan wait then."


def _unmanaged(plan: Plan) -> Iterator[Block]:
    """Yield what the service lists but no file declares, or that this is not known; nothing if all is declared."""
    match plan.listing:
        case Listing.NONE:
            return
        case Listing.INCOMPLETE:
            why = "the list of v2 portfolios could not be read as a whole"
            yield Lines((f"Unmanaged portfolios are not known: {why}.",))
        case Listing.COMPLETE if plan.unmanaged:
            are = "is" if len(plan.unmanaged) == 1 else "are"
            yield Rows(
                caption=f"{plural(len(plan.unmanaged), 'portfolio')} on v2 {are} not declared, and left alone.",
                columns=(Column("Portfolio"), NAME, Column("State"), Column("Strategy")),
                rows=tuple(
                    Row((code(one.id), one.name or "", one.status.value.replace("_", " "), _of_strategy(one.strategy)))
                    for one in plan.unmanaged
                ),
                parts=(Part("On v2, not declared, left alone", rank=3, opened=0),),
                most=_UNMANAGED_SHOWN,
            )
        case Listing.COMPLETE:
            return
        case _:
            assert_never(plan.listing)


def _of_strategy(strategy: str | None) -> Cell:
    return ("strategy ", code(strategy)) if strategy else ""


def _result_row(result: Result) -> Row:
    change, story = result.change, _story(result) or effect(result.change).shared
    look = result.outcome not in ACHIEVED or result.notes
    return Row(
        (toned(result.outcome.value), marked(change.verb), subject_cell(change.id), change.name or "", story),
        name=change.id,
        alike=cause(story),
        noun=_noun(change.id),
        part=_Place.LOOK if look else _Place.REST,
        gravity=(_gravest(result.outcome),),
        cause=bool(look),
        kind=f"to {change.verb}" if result.outcome is Outcome.NOT_ATTEMPTED else "",
    )


def _gravest(outcome: Outcome) -> int:
    """Return the place of an outcome in the order of need: 0 needs a look first."""
    order = (Outcome.UNKNOWN, Outcome.FAILED, Outcome.STALE, Outcome.NOT_ATTEMPTED, Outcome.ALREADY_DONE, Outcome.DONE)
    return order.index(outcome)


def _story(result: Result) -> str:
    """Return the detail and notes of a result, ``""`` if there are none."""
    return "; ".join([*([result.detail] if result.detail else []), *result.notes])
