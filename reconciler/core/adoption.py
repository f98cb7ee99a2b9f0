"""Import: what the files must say about live portfolios, so that a plan right afterwards finds nothing to do.

In: portfolios and strategies as read (:class:`Adoptable`), and the layers that the files have (:class:`Ground`).
Out: an :class:`Adoption`: what is declared, grouped (:class:`Layout`), and what is left out and why. A
schedule is known by the rules of a plan (:mod:`reconciler.core.evidence`), and what a plan would block is left out.
Knows no YAML and no file; the same fleet always gives the same result.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.core.errors import ApiError
from reconciler.core.evidence import STOCK_REASON, halt_of, known_interval, known_offset, without_mark
from reconciler.core.fields import unfit
from reconciler.core.guards import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import (
    ApiVersion,
    Desired,
    Live,
    RunState,
    Status,
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    address_of,
    strategy_of,
)
from reconciler.core.text import WORDS, format_duration, harmless, label

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.core.model import PortfolioId, Record

_FEWEST: Final = 3
"""This many portfolios with equal settings make a group; fewer are shorter without one."""
NEARLY_ALL: Final = 0.8
"""What this share of all portfolios has in common goes into the defaults."""
_PREFIX: Final = "Paused via API:"
"""What the service puts before the reason of a pause that came through its API (API facts §1.2)."""
_STOCK: Final = frozenset({"", STOCK_REASON, "Paused via API"})
"""Reasons that tell no more than that somebody or something paused it."""
_SCHEDULE: Final = ("interval_ms", "offset_ms")
SHARED: Final = ("api", *_SCHEDULE)
"""The fields of ``Desired`` that layers are made of; everything else belongs to one portfolio."""
_WORD_OF: Final = {ms: word for word, ms in WORDS.items()}


class OmitReason(StrEnum):
    """Why a portfolio is not declared, closed."""

    ARCHIVED = "archived"
    ERROR_STATUS = "error_status"
    NO_SCHEDULE = "no_schedule"
    UNKNOWN_STATUS = "unknown_status"
    NOT_FOUND = "not_found"
    READ_FAILED = "read_failed"
    INHERITS = "inherits"
    """The defaults of the files would give it a schedule that nobody knows it has."""

    @property
    def is_failure(self) -> bool:
        """Whether the portfolio could not be read; for every other reason it was read and can't be managed."""
        return self not in (OmitReason.ARCHIVED, OmitReason.ERROR_STATUS, OmitReason.NO_SCHEDULE)


class Adopted(Struct, frozen=True, kw_only=True):
    """One portfolio to declare. ``notes`` say how its schedule is known and what was left out; ours, and harmless."""

    desired: Desired
    notes: tuple[str, ...] = ()


class Omitted(Struct, frozen=True, kw_only=True):
    """One portfolio that is left out. ``detail`` is a harmless sentence for people."""

    id: PortfolioId
    api: ApiVersion
    reason: OmitReason
    detail: str
    failure: ApiError | None = None


class Adoptable(Struct, frozen=True, kw_only=True):
    """What was read of the portfolios to import; mappings are keyed and sorted by id.

    ``versions`` holds the API of each. ``names`` holds what was read apart from the status, ``strategies`` those of v2
    portfolios.
    """

    live: Mapping[PortfolioId, Live]
    versions: Mapping[PortfolioId, ApiVersion]
    records: Mapping[PortfolioId, Record] = field(default_factory=dict)
    names: Mapping[PortfolioId, str | ApiError | None] = field(default_factory=dict)
    strategies: Mapping[StrategyId, StrategyLive] = field(default_factory=dict)


class Ground(Struct, frozen=True, kw_only=True):
    """The layers that the files already have: values by the names of ``Desired``. A group holds only its own values."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Layout(Struct, frozen=True, kw_only=True):
    """What to write. A layer, and ``own``, map a name of :data:`SHARED` to its value; ``desired`` names the groups.

    ``defaults`` and ``groups`` are only those to be added. ``desired``, ``own`` (same keys) and ``groups`` are sorted.
    ``inherited`` names the fields that a portfolio has from the defaults that are there, and does not say itself.
    """

    defaults: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    desired: Mapping[PortfolioId, Desired]
    own: Mapping[PortfolioId, Mapping[str, Any]]
    inherited: Mapping[PortfolioId, Collection[str]] = {}


class Adoption(Struct, frozen=True, kw_only=True):
    """What to declare besides what is declared. ``omitted`` is sorted by id; all text in here is harmless.

    ``notes`` say of a portfolio how its schedule is known; ``enrolled`` counts the imported portfolios of a strategy;
    ``left`` says of a strategy why it is not declared.
    """

    layout: Layout
    strategies: Mapping[StrategyId, StrategyDesired]
    notes: Mapping[PortfolioId, tuple[str, ...]]
    enrolled: Mapping[StrategyId, int]
    left: Mapping[StrategyId, str]
    omitted: tuple[Omitted, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing is to be declared."""
        return not self.layout.desired and not self.strategies

    def count(self, state: RunState) -> int:
        """Return how many of the portfolios are declared with this state."""
        return sum(desired.state is state for desired in self.layout.desired.values())


def make_adoption(found: Adoptable, *, ground: Ground | None = None, reuse: bool = False) -> Adoption:
    """Return the import of a fleet. ``ground`` holds the layers of the files that will be read beside it, or of the
    file that it is added to; with ``reuse`` its groups may be named."""
    adopted: dict[PortfolioId, Adopted] = {}
    omitted: list[Omitted] = []
    for portfolio, live in sorted(found.live.items()):
        known = found.records.get(portfolio)
        one = declare_portfolio(live, known, api=found.versions[portfolio], name=found.names.get(portfolio))
        if isinstance(one, Adopted) and ground is not None and (name := inherits_schedule(one.desired, ground)):
            inherits = f"the defaults of the files would give it their {name}, and its own is not known"
            detail = f"{inherits}: declare it by hand"
            one = Omitted(id=portfolio, api=one.desired.api, reason=OmitReason.INHERITS, detail=detail)
        if isinstance(one, Omitted):
            omitted.append(one)
        else:
            adopted[portfolio] = one
    # The name comes with each portfolio of a strategy; where it was renamed between two reads, the first one counts.
    lives = [live for _, live in sorted(found.live.items(), reverse=True) if live.strategy_name is not None]
    names = {live.strategy: live.strategy_name for live in lives}
    strategies = {i: declare_strategy(live, name=names.get(i)) for i, live in sorted(found.strategies.items())}
    words = {
        i: _cadence_of(found.live[i], found) for i, one in adopted.items() if not one.desired.api.can.owns_schedule
    }
    imported = Counter(found.live[i].strategy for i in adopted)
    return Adoption(
        layout=lay_out((one.desired for one in adopted.values()), kinds=words, ground=ground, reuse=reuse),
        strategies={i: one for i, one in strategies.items() if isinstance(one, StrategyDesired)},
        notes={i: one.notes for i, one in adopted.items() if one.notes},
        enrolled={strategy: imported[strategy] for strategy in found.strategies},
        left={i: why for i, why in strategies.items() if isinstance(why, str)},
        omitted=tuple(omitted),
    )


def declare_portfolio(
    live: Live, record: Record | None, *, api: ApiVersion, name: str | ApiError | None = None
) -> Adopted | Omitted:
    """Return what to declare of one portfolio; ``record`` is ours of it.

    A running one is ``active``, a paused or inactive one ``paused``: nothing runs in either. Interval and offset are
    declared only where they are known and may be declared. ``name`` is one read apart from ``live`` (API facts §1.1,
    V1.9), or how that failed.
    """
    if (why := _why_left_out(live, api)) is not None:
        reason, detail = why
        return Omitted(id=live.id, api=api, reason=reason, detail=detail, failure=live.failure)
    own: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    if not api.can.owns_schedule:
        # The files accept fewer characters in an id than the service does, so such an id is left out.
        own = {"strategy": strategy_of(address_of(StrategyId(live.strategy or "")))}
    elif live.status is Status.INACTIVE:
        notes = ("inactive: nothing runs",)
    else:
        own, notes = _schedule_of(live, record)
    read_apart = "" if name is None or isinstance(name, ApiError) else name
    if isinstance(name, ApiError):
        notes = (*notes, "its name could not be read")
    if (halt := halt_of(live, record, api, remembered=None)) is not None:
        notes = (*notes, f"paused by the halt {halt}, whose lift leaves paused what is declared so")
    desired = Desired(
        id=live.id,
        state=RunState.ACTIVE if live.status is Status.ACTIVE else RunState.PAUSED,
        api=api,
        name=label(live.name or read_apart, unlike=live.id),
        reason=declarable_reason(live.pause_reason) if live.status is Status.PAUSED else None,
        **own,
    )
    return Adopted(desired=desired, notes=notes)


def declare_strategy(live: StrategyLive, *, name: str | None = None) -> StrategyDesired | str:
    """Return what to declare of a strategy, or a harmless sentence that says why nothing (API facts §1.3, §4.7).

    ``name`` is the one that came with a portfolio of it; the answer about a cadence holds none.
    """
    match live.status:
        case StrategyStatus.FOUND if live.cadence is not None:
            return StrategyDesired(id=live.id, schedule=live.cadence, name=label(name or "", unlike=live.id))
        case StrategyStatus.NOT_FOUND:
            return "its cadence is not yours to read or set: it is another tenant's, or gone"
        case StrategyStatus.UNREADABLE:
            return f"its cadence could not be read: {_said(live.failure)}"
        case StrategyStatus.UNKNOWN if live.word:
            return f"its cadence is {harmless(live.word, longest=60)!r}, which this version does not know"
        case StrategyStatus.UNKNOWN | StrategyStatus.FOUND | StrategyStatus.NOT_READ:
            return "it has no cadence that Glider tells of"
        case _:
            assert_never(live.status)


def declarable_reason(stored: str | None) -> str | None:
    """Return the stored reason of a pause without the service's prefix and our mark, as ``reason`` of the files.

    A stock phrase counts as no reason. The mark is taken out wherever it stands: a declared reason must not look like
    ours.
    """
    text = without_mark((stored or "").strip().removeprefix(_PREFIX))
    return None if text in _STOCK else label(text)


def cadence_word(cadence_ms: int | None) -> str:
    """Return a word for the cadence of a v2 portfolio, as far as its interval tells it (API facts §6)."""
    if cadence_ms is None:
        return ""
    return _WORD_OF.get(cadence_ms) or f"every-{format_duration(cadence_ms)}"


def inherits_schedule(desired: Desired, ground: Ground) -> str | None:
    """Return which of interval and offset a portfolio would get from the defaults although it declares none.

    No entry can take an inherited value away again.
    """
    if not desired.api.can.owns_schedule:
        return None
    given = (n for n in _SCHEDULE if getattr(desired, n) is None and ground.defaults.get(n) is not None)
    return next((name.removesuffix("_ms") for name in given), None)


def lay_out(
    fleet: Iterable[Desired],
    *,
    kinds: Mapping[PortfolioId, str] | None = None,
    ground: Ground | None = None,
    reuse: bool = False,
) -> Layout:
    """Return the layout of a fleet; groups that the portfolios name already are replaced by new ones.

    ``kinds`` holds a word for the cadence of v2 portfolios (see :func:`cadence_word`). On a ``ground`` nothing is added
    to the defaults, and every entry or group says all it needs; with ``reuse``, groups of the ground that mean the same
    are named instead of made. No portfolio may be one that :func:`inherits_schedule`.
    """
    below = ground or Ground()
    ordered = sorted(fleet, key=lambda desired: desired.id)
    settings = {one.id: _settings_of(one, (kinds or {}).get(one.id, "")) for one in ordered}
    values = dict(settings.values())  # by the name that a group of them would have
    defaults = _defaults(ordered) if ground is None else {}
    # What need not be said: beside defaults of others that name a version, every entry names its own.
    unsaid = {} if "api" in below.defaults else {"api": ApiVersion.V1, **defaults}
    own = {kind: {n: v for n, v in said.items() if unsaid.get(n) != v} for kind, said in values.items()}
    members = Counter(kind for kind, _ in settings.values())
    groups: dict[str, Mapping[str, Any]] = {}
    group_of: dict[str, str] = {}
    for kind in sorted(kind for kind, number in members.items() if number >= _FEWEST and own[kind]):
        there = _same_group(kind, values[kind], below) if reuse else None
        group_of[kind] = there or _free_name(kind, below.groups)
        if there is None:
            groups[group_of[kind]] = own[kind]
    inherited = {one.id: _inherited(one, below.defaults) for one in ordered}
    named = [(replace(one, **inherited[one.id]), settings[one.id][0]) for one in ordered]
    return Layout(
        defaults=defaults,
        groups=dict(sorted(groups.items())),
        desired={one.id: replace(one, group=group_of.get(kind)) for one, kind in named},
        own={one.id: {} if kind in group_of else own[kind] for one, kind in named},
        inherited=inherited,
    )


def _why_left_out(live: Live, api: ApiVersion) -> tuple[OmitReason, str] | None:
    match live.status:
        case Status.ACTIVE | Status.PAUSED:
            return None
        case Status.INACTIVE if api.can.owns_schedule:
            return None
        case Status.INACTIVE | Status.NO_SCHEDULE:
            return OmitReason.NO_SCHEDULE, "Glider keeps no schedule for it: look at its strategy there"
        case Status.ARCHIVED:
            return OmitReason.ARCHIVED, "archived"
        case Status.ERROR:
            return OmitReason.ERROR_STATUS, "Glider reports the status 'error': look at it there"
        case Status.UNKNOWN:
            word = harmless(live.word, longest=60)
            return OmitReason.UNKNOWN_STATUS, f"Glider reports {word!r}, which this version does not know"
        case Status.NOT_FOUND:
            return OmitReason.NOT_FOUND, f"{api} has no such portfolio, or the key may not see it"
        case Status.UNREADABLE | Status.NOT_READ:
            return OmitReason.READ_FAILED, f"could not be read: {_said(live.failure)}"
        case _:
            assert_never(live.status)


def _schedule_of(live: Live, record: Record | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return interval and offset as far as they are known and may be declared, and a note that says how."""
    interval, offset = known_interval(live, record), known_offset(live, record)
    if interval.value is None:
        return {}, ("interval not known: Glider does not return it",)
    if not MIN_INTERVAL_MS <= interval.value <= MAX_INTERVAL_MS:
        return {}, ("interval left out: outside of what may be declared",)
    own, how = {"interval_ms": interval.value}, interval.provenance.value
    if offset.value is None or not 0 <= offset.value < interval.value:
        return own, (f"interval {how}, offset not known",)
    same = interval.provenance is offset.provenance
    note = f"interval and offset {how}" if same else f"interval {how}, offset {offset.provenance.value}"
    return {**own, "offset_ms": offset.value}, (note,)


def _cadence_of(live: Live, found: Adoptable) -> str:
    """Return a word for the cadence of a v2 portfolio: its strategy's, else as far as its interval tells."""
    strategy = found.strategies.get(StrategyId(live.strategy)) if live.strategy is not None else None
    if strategy is not None and strategy.cadence is not None:
        return strategy.cadence.value
    return cadence_word(live.interval_ms)


def _settings_of(one: Desired, kind: str) -> tuple[str, dict[str, Any]]:
    """Return the name for a group of portfolios with the same settings as this one, and these settings by field.

    Different settings have different names; ``kind`` tells apart v2 portfolios of different cadences.
    """
    if not one.api.can.owns_schedule:
        return f"{one.api}-{kind}" if kind else f"{one.api}", {"api": one.api}
    said = {name: getattr(one, name) for name in SHARED if getattr(one, name) is not None}
    name = f"{one.api}" if one.interval_ms is None else f"every-{format_duration(one.interval_ms)}"
    return name if one.offset_ms is None else f"{name}-offset-{format_duration(one.offset_ms)}", said


def _defaults(fleet: list[Desired]) -> dict[str, Any]:
    """Return what nearly all share. A schedule only where every v1 portfolio has one: none can refuse to inherit it."""
    if len(fleet) < _FEWEST:
        return {}
    [(api, most)] = Counter(one.api for one in fleet).most_common(1)
    if not api.can.owns_schedule and most >= NEARLY_ALL * len(fleet):
        # A v2 portfolio has no interval, and the files refuse a default that applies to no portfolio.
        return {"api": api}
    found: dict[str, Any] = {}
    for name in _SCHEDULE:
        values = [getattr(one, name) for one in fleet if one.api.can.owns_schedule]
        if len(values) < _FEWEST or None in values:
            continue
        counts = Counter(values)
        value = min(counts, key=lambda v: (-counts[v], v))
        if counts[value] >= NEARLY_ALL * len(values):
            found[name] = value
    return found


def _same_group(kind: str, settings: Mapping[str, Any], ground: Ground) -> str | None:
    """Return a group of the ground that has exactly these settings and no others, preferably the one of that name.

    On v2 the name must fit too, because there only the name tells one cadence from another.
    """
    by_name = not settings["api"].can.owns_schedule

    def is_same(group: Mapping[str, Any]) -> bool:
        if by_name:
            return group == settings
        comes_to = {"api": ApiVersion.V1, **ground.defaults, **group}
        return group.keys() <= set(SHARED) and {n: comes_to[n] for n in SHARED if n in comes_to} == settings

    tried = [kind] if by_name else [kind, *sorted(ground.groups)]
    return next((name for name in tried if name in ground.groups and is_same(ground.groups[name])), None)


def _free_name(name: str, taken: Collection[str]) -> str:
    return next(free for free in chain([name], (f"{name}-{number}" for number in count(2))) if free not in taken)


def _inherited(desired: Desired, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a portfolio takes over from the defaults where it says nothing itself, and what its API has."""
    skipped = (*SHARED, *(field.target for field in unfit(desired.api)))
    return {n: value for n, value in layer.items() if n not in skipped and not getattr(desired, n)}


def _said(failure: ApiError | None) -> str:
    return harmless(str(failure), longest=300) if failure is not None else "no answer"
