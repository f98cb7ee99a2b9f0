"""Which declared portfolios a command is about, what one look at the fleet found, and how much of it is declared.

In: the desired portfolios and a :class:`Selection`; also live portfolios, the list of v2 portfolios if it was read, and
v1 portfolios that somebody named, because v1 has no list (API facts §7). Out: the selected portfolios, still sorted; a
:class:`Fleet` or a :class:`Coverage`, which say what is unmanaged and whether that is complete. An unknown id or group
in a selection is an error, because a mistyped target must never look like "no changes". A list that ended early never
counts as complete.
"""

from __future__ import annotations

import re
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from reconciler.core.errors import UsageError
from reconciler.core.model import ApiVersion, SavedPortfolioId, Status, address_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from reconciler.core.errors import ApiError
    from reconciler.core.model import Desired, Live, PortfolioId, StrategyDesired, StrategyId


_TERM: Final = r"(?s)(?P<key>[A-Za-z0-9][A-Za-z0-9_./-]*)(?P<negated>!?)=(?P<value>[^=].*)"


class Term(Struct, frozen=True):
    """One condition of ``--select``: the ``group``, the ``name`` (a pattern with ``*`` and ``?``) or a label has this
    value; if ``negated``, it has another value or none."""

    key: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.key}{'!=' if self.negated else '='}{self.value}"

    def fits(self, one: Desired) -> bool:
        """Whether a portfolio has the value, whatever ``negated`` says."""
        match self.key:
            case "group":
                return one.group == self.value
            case "name":
                return fnmatchcase(one.name or "", self.value)
            case _:
                return one.labels.get(self.key) == self.value


@lru_cache(maxsize=64)
def parse_term(text: str) -> Term:
    """Return the condition that ``text`` stands for. Raises :class:`ValueError` with what its form is."""
    found = re.fullmatch(_TERM, text)
    if found is None:
        raise ValueError(f"{text!r} is not of the form group=NAME, LABEL=VALUE, LABEL!=VALUE or name=GLOB")
    return Term(found["key"], found["value"], bool(found["negated"]))


class Selection(Struct, frozen=True, kw_only=True):
    """What was asked for; empty tuples mean everything. A portfolio is selected if it passes all four.

    ``terms`` are the conditions as they are written, except ``group=NAME``, of which ``groups`` holds the names.
    """

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise :class:`ValueError` for a term that is not one; a file may hold any text."""
        for text in self.terms:
            parse_term(text)

    @property
    def everything(self) -> bool:
        """Whether everything is selected."""
        return self == EVERYTHING

    @property
    def by_conditions(self) -> bool:
        """Whether it depends on what the files declare of a portfolio."""
        return bool(self.groups or self.terms)

    def passes(self, address: str, one: Desired | None) -> bool:
        """Whether a portfolio is selected. ``None`` stands for a strategy, which fits no condition.

        Of several conditions with the same key, one must fit; of those that are negated, all must hold.
        """
        if (self.targets and address not in self.targets) or address in self.excludes:
            return False
        if not self.by_conditions:
            return True
        if one is None or (self.groups and one.group not in self.groups):
            return False
        fitting: dict[str, bool] = {}
        for term in map(parse_term, self.terms):
            fits = term.fits(one)
            if term.negated and fits:
                return False
            if not term.negated:
                fitting[term.key] = fitting.get(term.key, False) or fits
        return all(fitting.values())


EVERYTHING: Final = Selection()


def selection_of(selects: Iterable[str], *, targets: tuple[str, ...] = (), excludes: tuple[str, ...] = ()) -> Selection:
    """Return a selection by conditions as they are written. Raises as :func:`parse_term` does."""
    terms = [parse_term(text) for text in selects]
    groups = tuple(term.value for term in terms if term.key == "group" and not term.negated)
    others = tuple(str(term) for term in terms if term.key != "group" or term.negated)
    return Selection(targets=targets, excludes=excludes, groups=groups, terms=others)


_NO_STRATEGIES: Final[Mapping[StrategyId, StrategyDesired]] = {}


def select(
    desired: Mapping[PortfolioId, Desired],
    selection: Selection,
    strategies: Mapping[StrategyId, StrategyDesired] = _NO_STRATEGIES,
    *,
    option: str = "--select",
) -> Mapping[PortfolioId, Desired]:
    """Return the selected portfolios. Raises :class:`UsageError` for an id, group, name or label that none has.

    ``--target`` and ``--exclude`` may also name ``strategies/ID``; :func:`select_strategies` returns those.
    """
    if selection.everything:
        return desired
    names = {*desired, *map(address_of, strategies)}
    require_among("--target", selection.targets, names, "declared")
    require_among("--exclude", selection.excludes, names, "declared")
    for term in (*(Term("group", name) for name in selection.groups), *map(parse_term, selection.terms)):
        require_fit(option, term, desired.values())
    chosen = {i: one for i, one in desired.items() if selection.passes(i, one)}
    if not chosen and not select_strategies(strategies, selection):
        raise UsageError("the selection is empty", "No declared portfolio passes all of the given filters.")
    return chosen


def select_strategies(
    strategies: Mapping[StrategyId, StrategyDesired], selection: Selection
) -> Mapping[StrategyId, StrategyDesired]:
    """Return the selected strategies: all, unless ``--target`` names others; a group holds none."""
    return {i: one for i, one in strategies.items() if selection.passes(address_of(i), None)}


def require_among(option: str, wanted: Iterable[str], known: Collection[str], those: str) -> None:
    """Raise :class:`UsageError` for an unknown name given with ``option``, and suggest the nearest known one.

    ``those`` completes "is not", as in ``declared`` or ``among the selected portfolios``.
    """
    if unknown := [name for name in wanted if name not in known]:
        more = f", one of {len(unknown)} that are not" if len(unknown) > 1 else ""
        parts = unknown[0].split(",")
        each = "Give each by itself: " + " ".join(f"{option} {part}" for part in parts)
        hint = each if all(part in known for part in parts) else _nearest(unknown[0], known, "These are")
        raise UsageError(f"{option} {unknown[0]!r} is not {those}{more}", hint)


def require_fit(option: str, term: Term, fleet: Collection[Desired], those: str = "portfolio") -> None:
    """Raise :class:`UsageError` for a condition given with ``option`` that fits none of ``those``.

    A negated condition is checked in the same way: it was meant to leave some out, so there must be some.
    """
    if any(term.fits(one) for one in fleet):
        return
    match term.key:
        case "group":
            known = {one.group for one in fleet if one.group}
            problem, title, none = f"no {those} is in that group", "Groups with portfolios", "a `group`"
        case "name":
            known = {one.name for one in fleet if one.name}
            problem, title, none = f"no {those} has such a name", "Names", "a `name`"
        case key:
            known = {one.labels[key] for one in fleet if key in one.labels}
            problem, title, none = f"no {those} has that `{key}`", f"Values of `{key}`", "labels"
            keys = {name for one in fleet for name in one.labels}
            meant = guess(key, ("group", "name"))
            if not known and (keys or meant):
                there = guess(key, keys) or meant or _nearest(key, keys, "Labels")
                raise UsageError(f"{option} {term}: no {those} has the label `{key}`", there)
    there = _nearest(term.value, known, title) if known else f"No {those} has {none}."
    raise UsageError(f"{option} {term}: {problem}", there)


def require_key(option: str, key: str, fleet: Collection[Desired]) -> None:
    """Raise :class:`UsageError` for ``group``, or the key of a label, given with ``option`` that no portfolio has."""
    keys = {"group"} if any(one.group for one in fleet) else set()
    keys |= {name for one in fleet for name in one.labels}
    if key not in keys:
        what = "a `group`" if key == "group" else f"the label `{key}`"
        there = _nearest(key, keys, "There are") if keys else "No portfolio has a `group` or labels."
        raise UsageError(f"{option} {key}: no selected portfolio has {what}", there)


def guess(name: str, known: Collection[str]) -> str:
    """Return the nearest known name as a question, ``""`` if none is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _nearest(name: str, known: Collection[str], title: str) -> str:
    """Return the nearest known name as a question, or where none is near, the first of them below a title."""
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    listed = f"{title}: {', '.join(sorted(known)[:_MOST_LISTED])}{more}." if known else ""
    return guess(name, known) or listed


_MOST_LISTED: Final = 8
_TOO_MANY_MISSING: Final = 3
SINGLY: Final = 20
"""Up to this many selected v2 portfolios are read one by one. Reading the list of all may take many more calls."""


class Listing(StrEnum):
    """Whether the service listed its portfolios, so that the undeclared ones are known."""

    NONE = "none"
    """No list was read: v1 has none (API facts §7), or only some portfolios were selected."""
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """The list could not be read or understood completely, so nobody knows what is unmanaged."""


class Unmanaged(Struct, frozen=True, kw_only=True):
    """A portfolio that the service lists and no file declares. Server text in here is already harmless.

    ``strategy`` is its strategy's id, ``None`` if the service names none.
    """

    id: SavedPortfolioId
    name: str | None
    status: Status
    strategy: str | None


def asks_for_list(versions: Iterable[ApiVersion], *, whole: bool) -> bool:
    """Whether the list of v2 is read for portfolios of these versions; ``whole`` means that all are selected."""
    return sum(version.can.lists for version in versions) > (0 if whole else SINGLY)


def mostly_missing(live: Collection[Live]) -> bool:
    """Whether more than half of these portfolios, and at least three, are not found: probably the wrong account."""
    missing = sum(one.status is Status.NOT_FOUND for one in live)
    return missing >= _TOO_MANY_MISSING and missing * 2 > len(live)


def leaves_unmanaged(unmanaged: Sequence[Unmanaged], listing: Listing) -> bool:
    """Whether portfolios are live that no file declares, or might be as far as we know."""
    return bool(unmanaged) or listing is not Listing.COMPLETE


class PortfolioList(Struct, frozen=True, kw_only=True):
    """The v2 portfolios that the service lists, keyed and sorted by id; archived ones never are (API facts §7).

    ``failure`` is why the list ended early, ``None`` if it did not. ``unreadable`` counts rows that name no portfolio,
    and pages that don't say whether more follow.
    """

    rows: Mapping[PortfolioId, Live] = field(default_factory=dict)
    failure: ApiError | None = None
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Whether the list is complete, so that a portfolio that is not in here is not listed at all."""
        return self.failure is None and not self.unreadable

    @property
    def listing(self) -> Listing:
        """Whether the list is complete, as a word."""
        return Listing.COMPLETE if self.complete else Listing.INCOMPLETE

    def enrolled(self, strategy: str) -> int | None:
        """Return how many portfolios of the list are enrolled in a strategy.

        ``None`` if the list is not complete, or if a row names no strategy, because that row may belong to this one.
        """
        if not self.complete or any(live.strategy is None for live in self.rows.values()):
            return None
        return sum(live.strategy == strategy for live in self.rows.values())

    def enrolment(self, strategy: str) -> str | None:
        """Return a hash of which portfolios are enrolled in a strategy; ``None`` where :meth:`enrolled` is."""
        if self.enrolled(strategy) is None:
            return None
        from hashlib import sha256

        ids = sorted(i for i, live in self.rows.items() if live.strategy == strategy)
        return sha256(",".join(ids).encode()).hexdigest()

    def running(self, strategy: str) -> int | None:
        """Return how many of those are active; ``None`` if the state of any of them is not known."""
        if self.enrolled(strategy) is None:
            return None
        states = [live.status for live in self.rows.values() if live.strategy == strategy]
        known = all(state in (Status.ACTIVE, Status.PAUSED, Status.NO_SCHEDULE) for state in states)
        return states.count(Status.ACTIVE) if known else None


class Fleet(Struct, frozen=True, kw_only=True):
    """What one look at the service found. ``live`` holds every portfolio that was asked for, even if its read failed,
    keyed and sorted by id.

    ``listed`` is the list of v2 portfolios, ``None`` if it was not read.
    """

    live: Mapping[PortfolioId, Live]
    listed: PortfolioList | None = None

    @property
    def listing(self) -> Listing:
        """Whether what is unmanaged is known."""
        return self.listed.listing if self.listed is not None else Listing.NONE

    def unmanaged(self, declared: Collection[PortfolioId]) -> tuple[Unmanaged, ...]:
        """Return what is listed and not declared, sorted by id; nothing unless the list is complete.

        ``declared`` is everything that the files declare, whatever its API version and whatever was selected.
        """
        return _unmanaged(self.listed.rows, declared) if self.listed is not None and self.listed.complete else ()


class StrategyCoverage(Struct, frozen=True):
    """One strategy in the list; its id is ``None`` for portfolios without one. ``declared`` is about its cadence."""

    strategy: str | None
    listed: int
    unmanaged: int
    declared: bool


class Coverage(Struct, frozen=True, kw_only=True):
    """What is declared and what is live. ``named`` holds the v1 portfolios that were named but are not declared, as
    read, sorted by id.

    ``named_declared`` counts those that were named and are declared.
    """

    declared: Mapping[PortfolioId, Desired]
    strategies: Collection[StrategyId]
    listed: PortfolioList
    named: Mapping[PortfolioId, Live] = field(default_factory=dict)
    named_declared: int = 0

    @property
    def unmanaged(self) -> tuple[tuple[ApiVersion, Unmanaged], ...]:
        """What is live and not declared, from the list and from what was named, sorted by id.

        Unlike a plan, it uses a list that ended early, too: the rows are true, and the page says that more may exist.
        """
        known = {i: live for i, live in self.named.items() if live.status.was_seen}
        # The same portfolio may be automated by v1 and by v2 independently, so it counts once for each.
        sides = ((ApiVersion.V2, self.listed.rows), (ApiVersion.V1, known))
        found = [(api, one) for api, rows in sides for one in _unmanaged(rows, self.declared)]
        return tuple(sorted(found, key=lambda pair: (pair[1].id, pair[0])))

    @property
    def unread(self) -> tuple[Live, ...]:
        """What was named but could not be read, or does not exist."""
        return tuple(live for live in self.named.values() if not live.status.was_seen)

    @property
    def unlisted(self) -> tuple[PortfolioId, ...]:
        """What is declared on v2 but not listed: archived, another tenant's, or gone (API facts §3.2)."""
        if not self.listed.complete:
            return ()
        return tuple(i for i, one in self.declared.items() if one.api.can.lists and i not in self.listed.rows)

    @property
    def leaves_unmanaged(self) -> bool:
        """Whether something is live that no file declares, or might be as far as we know."""
        return leaves_unmanaged([one for _, one in self.unmanaged], self.listed.listing) or bool(self.unread)

    def count_declared(self, api: ApiVersion) -> int:
        """Return how many portfolios of one version are declared."""
        return sum(declared.api is api for declared in self.declared.values())

    def by_strategy(self) -> tuple[StrategyCoverage, ...]:
        """Return the strategies of the list, those with most unmanaged portfolios first, then by id."""
        found: dict[str | None, list[bool]] = {}
        for portfolio, live in self.listed.rows.items():
            found.setdefault(live.strategy, []).append(portfolio not in self.declared)
        rows = [StrategyCoverage(name, len(of), sum(of), name in self.strategies) for name, of in found.items()]
        return tuple(sorted(rows, key=lambda row: (-row.unmanaged, row.strategy is None, row.strategy or "")))


def _unmanaged(rows: Mapping[PortfolioId, Live], declared: Collection[PortfolioId]) -> tuple[Unmanaged, ...]:
    """Return the rows that are not declared, sorted by id."""
    return tuple(
        Unmanaged(id=portfolio, name=live.name, status=live.status, strategy=live.strategy)
        for portfolio, live in sorted(rows.items())
        if portfolio not in declared
    )
