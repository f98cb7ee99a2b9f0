"""The page of ``load``: bars by hour, the worst minute and who runs in it; and what a plan says of its load.

In: :class:`~reconciler.core.load.Load`. Out: a :class:`~reconciler.render.page.Page`, sentences, or JSON values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.codec import dump
from reconciler.core.text import HOUR_MS, plural
from reconciler.render.effects import number
from reconciler.render.page import Column, Lines, Page, Part, Row, Rows, Span, Tone, code, moment, utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.plan import Load, LoadChange, Worst
    from reconciler.render.page import Block, Cell, Piece

LONGEST_BAR: Final = 40
"""The longest bar, in characters."""
_NAMED: Final = 6
_STEPS: Final = "▁▂▃▄▅▆▇█"
_ANCHOR: Final = (
    "Runs after the next one follow from the interval. Glider does not document what an offset counts from."
)
_PLANNED: Final = (
    "After a write, the next run is taken to be at the offset from the beginning of 1970. Glider does not document "
    "what an offset counts from."
)


def load_page(load: Load, parts: Mapping[str, Load], *, by: str | None, unread: int) -> Page:
    """Return the runs by hour, and with ``by`` those of each group or value of a label."""
    bars = Rows(
        columns=(Column("From"), Column("Runs"), Column("")),
        rows=tuple(
            Row((_hour(load, hour), f"{count:,}", _bar(count, max(load.hours))))
            for hour, count in enumerate(load.hours)
        ),
        parts=(Part("Runs by hour", opened=None),),
        headed=True,
    )
    blocks: list[Block] = [bars]
    if by is not None:
        most = max((count for part in parts.values() for count in part.hours), default=0)
        rows = (
            Row((word or f"(no {by})", f"{part.portfolios:,}", number(part.runs_day), _line(part.hours, most)))
            for word, part in parts.items()
        )
        columns = (Column(f"{by[:1].upper()}{by[1:]}"), Column("Portfolios"), Column("Runs a day"), Column("By hour"))
        blocks.append(Rows(columns=columns, rows=tuple(rows), parts=(Part(f"By {by}", opened=None),), headed=True))
    return Page(
        title="Load",
        verdict=f"{number(load.runs_day)} runs a day",
        about=((f"{plural(load.portfolios, 'portfolio')} that run, from {moment(load.from_ms)}"),),
        blocks=(*blocks, Lines((*_facts(load, unread), Span(_ANCHOR, Tone.QUIET)))),
        last=(f"Load: {_summary(load)}",),
    )


def plan_load_page(change: LoadChange) -> Page:
    """Return the runs by hour before and after a plan."""
    before, after = change.before, change.after
    most = max((*before.hours, *after.hours))
    rows = (
        Row(
            (
                _hour(before, hour),
                f"{one:,}",
                _bar(one, most, LONGEST_BAR // 2),
                f"{other:,}",
                _bar(other, most, LONGEST_BAR // 2),
            )
        )
        for hour, (one, other) in enumerate(zip(before.hours, after.hours, strict=True))
    )
    columns = (Column("From"), Column("Now"), Column(""), Column("Then"), Column(" "))
    return Page(
        title="Load",
        verdict=f"{number(before.runs_day)} → {number(after.runs_day)} runs a day",
        blocks=(
            Rows(columns=columns, rows=tuple(rows), parts=(Part("Runs by hour", opened=None),), headed=True),
            Lines((*load_lines(change), Span(_PLANNED, Tone.QUIET))),
        ),
        last=(f"Now: {_summary(before)}", f"Then: {_summary(after)}"),
    )


def load_lines(change: LoadChange | None) -> Iterator[Cell]:
    """Yield what a plan does to the runs a day and the worst minute, if that minute then has more or fewer runs."""
    if change is None:
        return
    before, after = (load.worst.count if load.worst is not None else 0 for load in (change.before, change.after))
    if before == after or max(before, after) == 1:
        return
    rate = f"{number(change.before.runs_day)} → {number(change.after.runs_day)}"
    who = (" (then ", *_names(change.after.worst), ")") if change.after.worst is not None else ()
    yield f"All portfolios run {rate} times a day, at most {before:,} → {after:,} of them in the same minute", *who, "."


def _summary(load: Load) -> str:
    worst = load.worst
    at = f", most in one minute: {worst.count:,} at {moment(worst.at_ms)}" if worst is not None else ""
    hours = (load.to_ms - load.from_ms) // HOUR_MS
    return f"{sum(load.hours):,} runs in {hours}h, {number(load.runs_day)} a day{at}."


def _facts(load: Load, unread: int) -> Iterator[Cell]:
    if load.worst is not None and load.worst.count > 1:
        yield Span("Worst minute:", Tone.STRONG), f" {moment(load.worst.at_ms)}, ", *_named(load.worst), "."
    if load.unknown:
        yield f"The next run of {plural(load.unknown, 'portfolio')} is not known, so it is in no hour."
    if load.once:
        yield f"The interval of {plural(load.once, 'portfolio')} is not known, so only the next run is counted."
    if unread:
        yield f"{plural(unread, 'portfolio')} could not be read."


def _named(worst: Worst) -> tuple[Piece, ...]:
    return f"{plural(worst.count, 'portfolio')}: ", *_names(worst)


def _names(worst: Worst) -> tuple[Piece, ...]:
    shown = [piece for one in worst.ids[:_NAMED] for piece in (", ", code(one))][1:]
    more = f" and {worst.count - _NAMED:,} more" if worst.count > _NAMED else ""
    return *shown, more


def _hour(load: Load, hour: int) -> str:
    at = utc((load.from_ms // HOUR_MS + hour) * HOUR_MS)
    return f"{at:%d %b %H:%M}" if hour == 0 or at.hour == 0 else f"       {at:%H:%M}"


def _bar(count: int, most: int, longest: int = LONGEST_BAR) -> str:
    """Return a bar in proportion; whatever runs at all has one."""
    return "█" * max(round(count * longest / most), 1) if count else ""


def _line(counts: Sequence[int], most: int) -> str:
    """Return the hours as one character each, a dot for an hour without a run."""
    return "".join(_STEPS[max(-(-count * len(_STEPS) // most) - 1, 0)] if count else "·" for count in counts)


def load_document(load: Load, parts: Mapping[str, Load], *, by: str | None, unread: int) -> dict[str, Any]:
    """Return the same as JSON values; with ``by`` the parts are keyed by group or value, ``""`` for those without."""
    found = {"load": dump(load), "unread": unread, "worst": dump(load.worst) if load.worst is not None else None}
    return found if by is None else {**found, "by": by, "parts": {word: dump(part) for word, part in parts.items()}}


def plan_load_document(change: LoadChange) -> dict[str, Any]:
    """Return both sides as JSON values."""
    return dump(change)
