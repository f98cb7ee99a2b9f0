"""How a fleet is written down so that people can read it: what is shared goes into layers.

In: desired portfolios, and the :class:`Ground` that other files already lay under them. Out: a :class:`Layout` of
defaults, groups and what each entry says itself, which means the same. Knows no YAML; the same fleet always gives the
same layout.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.desired import ApiVersion, Desired
from reconciler.core.duration import WORDS, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.desired import PortfolioId

FEWEST: Final = 3
"""So many portfolios with equal settings make a group; fewer are shorter without."""
NEARLY_ALL: Final = 0.8
"""What so many share goes into the defaults."""

SHARED: Final = ("api", "interval_ms", "offset_ms")
"""The fields of ``Desired`` that layers are made of; everything else is of one portfolio."""
_SCHEDULE: Final = ("interval_ms", "offset_ms")
_NOT_ON_V2: Final = frozenset({"interval_ms", "offset_ms", "run_on_start"})
_WORD_OF: Final = {ms: word for word, ms in WORDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The layers that are there already: values by the names of ``Desired``, groups without the defaults below them."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What to write. A layer, and ``own``, map a name of :data:`SHARED` to its value; ``desired`` names the groups.

    ``defaults`` and ``groups`` are only those to be added. ``desired``, ``own`` (same keys) and ``groups`` are sorted.
    """

    defaults: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    desired: Mapping[PortfolioId, Desired]
    own: Mapping[PortfolioId, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Settings:
    """What portfolios of one group have in common; ``kind`` tells apart v2 portfolios of different cadences."""

    api: ApiVersion
    interval_ms: int | None
    offset_ms: int | None
    kind: str = ""

    @property
    def group(self) -> str:
        """The name of their group: different settings have different names."""
        if self.api is ApiVersion.V2:
            return f"v2-{self.kind}" if self.kind else "v2"
        if self.interval_ms is None:
            return "v1"
        offset = f"-offset-{format_duration(self.offset_ms)}" if self.offset_ms is not None else ""
        return f"every-{format_duration(self.interval_ms)}{offset}"

    @property
    def order(self) -> tuple[str, int, int]:
        return self.group, self.interval_ms or 0, self.offset_ms or 0

    def values(self) -> dict[str, Any]:
        known = {name: getattr(self, name) for name in SHARED}
        return {name: value for name, value in known.items() if value is not None}


def kind_of(cadence_ms: int | None) -> str:
    """Return a word for the cadence of a v2 portfolio, as far as its interval tells it (API facts §6)."""
    if cadence_ms is None:
        return ""
    return _WORD_OF.get(cadence_ms) or f"every-{format_duration(cadence_ms)}"


def inherits_schedule(desired: Desired, ground: Ground) -> str | None:
    """Return which of interval and offset a portfolio would get from the defaults although it declares none.

    Nothing it could say takes an inherited value away again.
    """
    if desired.api is ApiVersion.V2:
        return None
    given = [n for n in _SCHEDULE if getattr(desired, n) is None and ground.defaults.get(n) is not None]
    return given[0].removesuffix("_ms") if given else None


def lay_out(
    fleet: Iterable[Desired],
    *,
    kinds: Mapping[PortfolioId, str] | None = None,
    ground: Ground | None = None,
    reuse: bool = False,
) -> Layout:
    """Return the layout of a fleet; whatever groups it names are made anew.

    ``kinds`` holds a word for the cadence of v2 portfolios (see :func:`kind_of`). On a ``ground`` nothing is added to
    the defaults, and every entry or group says all it needs; with ``reuse``, groups of the ground that mean the same
    are named instead of made. No portfolio may be one that :func:`inherits_schedule`.
    """
    ordered = sorted(fleet, key=lambda desired: desired.id)
    settings = {d.id: _settings_of(d, (kinds or {}).get(d.id, "")) for d in ordered}
    defaults = _defaults(list(settings.values())) if ground is None else {}
    members = Counter(settings.values())
    groups: dict[str, dict[str, Any]] = {}
    names: dict[_Settings, str | None] = {}
    for one in sorted(members, key=lambda settings: settings.order):
        own = _own(one, defaults, ground)
        if members[one] < FEWEST or not own:
            continue
        name = _same(one, ground) if ground is not None and reuse else None
        if name is None:
            name = _fresh(one.group, ground)
            groups[name] = own
        names[one] = name
    desired: dict[PortfolioId, Desired] = {}
    for d in ordered:
        group = names.get(settings[d.id])
        desired[d.id] = replace(_inheriting(d, ground), group=group)
    return Layout(
        defaults=defaults,
        groups={name: groups[name] for name in sorted(groups)},
        desired=desired,
        own={i: {} if d.group else _own(settings[i], defaults, ground) for i, d in desired.items()},
    )


def _settings_of(desired: Desired, kind: str) -> _Settings:
    if desired.api is ApiVersion.V2:
        return _Settings(desired.api, None, None, kind)
    return _Settings(desired.api, desired.interval_ms, desired.offset_ms)


def _defaults(fleet: Sequence[_Settings]) -> dict[str, Any]:
    """Return what nearly all share. A schedule only where every v1 portfolio has one: none can refuse to inherit it."""
    if len(fleet) < FEWEST:
        return {}
    of_v1 = [one for one in fleet if one.api is ApiVersion.V1]
    if len(fleet) - len(of_v1) >= NEARLY_ALL * len(fleet):
        # An interval beside it would be meant for nobody: the files refuse that.
        return {"api": ApiVersion.V2}
    found: dict[str, Any] = {}
    for name in _SCHEDULE:
        values = [getattr(one, name) for one in of_v1]
        if len(values) < FEWEST or None in values:
            continue
        counts = Counter(values)
        value = min(counts, key=lambda v: (-counts[v], v))
        if counts[value] >= NEARLY_ALL * len(values):
            found[name] = value
    return found


def _own(settings: _Settings, defaults: Mapping[str, Any], ground: Ground | None) -> dict[str, Any]:
    """Return what must be said so that ``settings`` come out, over the new defaults or over those of the ground."""
    values = settings.values()
    said_by_all = ground.defaults if ground is not None else defaults
    if settings.api is said_by_all.get("api", ApiVersion.V1) and (ground is None or "api" not in ground.defaults):
        del values["api"]
    return {name: value for name, value in values.items() if defaults.get(name) != value}


def _same(settings: _Settings, ground: Ground) -> str | None:
    """Return a group of the ground that comes to exactly these settings and says nothing else, best of that name.

    On v2 only one of that name: there the name alone tells cadences apart.
    """
    named = [settings.group] if settings.group in ground.groups else []
    others = sorted(ground.groups) if settings.api is ApiVersion.V1 else []
    for name in [*named, *others]:
        group = ground.groups[name]
        merged = {"api": ApiVersion.V1, **ground.defaults, **group}
        if settings.api is ApiVersion.V2:
            same = group == {"api": ApiVersion.V2}
        else:
            same = set(group) <= set(SHARED) and {n: merged[n] for n in SHARED if n in merged} == settings.values()
        if same:
            return name
    return None


def _fresh(name: str, ground: Ground | None) -> str:
    taken = ground.groups if ground is not None else {}
    number, fresh = 2, name
    while fresh in taken:
        number, fresh = number + 1, f"{name}-{number}"
    return fresh


def _inheriting(desired: Desired, ground: Ground | None) -> Desired:
    """Return the portfolio with what it takes over from the ground, where it says nothing itself."""
    if ground is None:
        return desired
    skipped = {*SHARED, *(_NOT_ON_V2 if desired.api is ApiVersion.V2 else ())}
    taken = {n: value for n, value in ground.defaults.items() if n not in skipped and not getattr(desired, n)}
    return replace(desired, **taken)
