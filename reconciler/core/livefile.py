"""The live file: what one look at the service found, so that a plan can be made from it later, without a key.

In: what was read of portfolios, of the list of v2 and of strategies, with our records about them; or the file's text.
Out: the text, or these values, or an error that says what to do. The file holds all that a plan needs, and the time of
the look (``as_of``). A plan made from it is for reading only, since an apply could not trust it. The file holds no key.
One from elsewhere may hold anything, so each value must have the type and bounds of a value that the service sends, and
every text is made harmless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct, field
from msgspec.structs import asdict

from reconciler.core.codec import Count, Moment, SavedFormat, Shown, dump, load
from reconciler.core.errors import ApiError, LiveInvalid
from reconciler.core.fleet import Fleet, PortfolioList, asks_for_list
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Live,
    PortfolioId,
    Record,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
)
from reconciler.core.plan import JournalState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.model import Desired

LIVE_FORMAT: Final = SavedFormat(
    file="the live file",
    what="the live file",
    is_none="a live file",
    version="2.0",
    command="reconciler status --out FILE",
    largest=64 * 1024 * 1024,  # one portfolio takes about 700 bytes
    key="portfolios",
    error=LiveInvalid,
)


class LiveFile(Struct, frozen=True, kw_only=True):
    """One look at one service. Every mapping is keyed by portfolio id, or by strategy id, and sorted by it.

    ``as_of_ms`` is the time before the first read, UTC epoch milliseconds: nothing in here is older. ``versions`` says
    on which API each portfolio was read. ``listed`` is the list of v2 portfolios, ``None`` if it was not read.
    ``records``, ``pauses`` (tokens), ``triggers`` (rebalances asked for in the 24 hours before) and ``cadences`` hold
    what the journal knew of the portfolios and strategies in here, and of no other; ``journal`` says whether it could
    know anything.
    """

    base_url: str
    as_of_ms: int
    live: Mapping[PortfolioId, Live]
    records: Mapping[PortfolioId, Record]
    pauses: Mapping[PortfolioId, str] = field(default_factory=dict)
    triggers: Mapping[PortfolioId, int] = field(default_factory=dict)
    versions: Mapping[PortfolioId, ApiVersion] = field(default_factory=dict)
    listed: PortfolioList | None = None
    strategies: Mapping[StrategyId, StrategyLive] = field(default_factory=dict)
    cadences: Mapping[StrategyId, Cadence] = field(default_factory=dict)
    journal: JournalState = JournalState.IN_USE

    def fleet_of(self, desired: Mapping[PortfolioId, Desired], *, whole: bool) -> Fleet:
        """Return what reading these portfolios would have found; ``whole`` says that all declared ones are selected.

        A portfolio that is not in here, or was read on the other API, is ``NOT_READ``, which blocks. The list is used
        only if a look at the service would have read it, so that the plan is the same.
        """
        asked = asks_for_list((one.api for one in desired.values()), whole=whole)
        return Fleet(live={i: self._live_of(one) for i, one in desired.items()}, listed=self.listed if asked else None)

    def _live_of(self, desired: Desired) -> Live:
        found = self.live.get(desired.id)
        if found is not None and self.versions.get(desired.id, desired.api) is desired.api:
            return found
        listed = self.listed.rows.get(desired.id) if self.listed is not None else None
        if listed is not None and desired.api.can.lists:
            return listed
        return Live(id=desired.id, status=Status.NOT_READ)


class _Row(Live, frozen=True, kw_only=True):
    """A portfolio as it is saved, with what the journal knew of it. Times are UTC epoch milliseconds."""

    record: Record | None = None
    pause: str | None = None
    triggers: Count = 0


class _Portfolio(_Row, frozen=True, kw_only=True):
    """A portfolio that was read. ``listed`` says that the list holds the same values; then they are saved only once."""

    api: ApiVersion | None = None
    listed: bool = False


class _List(Struct, frozen=True, kw_only=True):
    """The rows of the list that were not saved as portfolios, and whether the list is complete."""

    portfolios: tuple[_Row, ...]
    failure: ApiError | None
    unreadable: Count


class _Strategy(StrategyLive, frozen=True, kw_only=True):
    """A strategy as it is saved, with the cadence that the journal knew."""

    recorded: Cadence | None = None


RowT = TypeVar("RowT", _Row, _Portfolio, _Strategy)


class _Saved(Struct, frozen=True, kw_only=True):
    as_of: Moment
    base_url: Shown
    journal: JournalState
    portfolios: tuple[_Portfolio, ...]
    list: _List | None
    strategies: tuple[_Strategy, ...]


def format_live(found: LiveFile) -> str:
    """Return the file as JSON text that ends in a line break; the same look gives the same text."""
    saved = _Saved(
        as_of=found.as_of_ms,
        base_url=found.base_url,
        journal=found.journal,
        portfolios=tuple(
            _Portfolio(**_row(found, live), api=found.versions.get(i), listed=_is_row(found, live))
            for i, live in sorted(found.live.items())
        ),
        list=_list(found, found.listed) if found.listed is not None else None,
        strategies=tuple(
            _Strategy(**asdict(live), recorded=found.cadences.get(i)) for i, live in sorted(found.strategies.items())
        ),
    )
    return LIVE_FORMAT.text(dump(saved))


def _row(found: LiveFile, live: Live) -> dict[str, Any]:
    return {
        **asdict(live),
        "record": found.records.get(live.id),
        "pause": found.pauses.get(live.id),
        "triggers": found.triggers.get(live.id, 0),
    }


def _is_row(found: LiveFile, live: Live) -> bool:
    """Whether the list holds this portfolio with the same values as the read."""
    version = found.versions.get(live.id)
    if found.listed is None or version is None or not version.can.lists:
        return False
    return found.listed.rows.get(live.id) == live


def _list(found: LiveFile, listed: PortfolioList) -> _List:
    once = {i for i, live in found.live.items() if _is_row(found, live)}
    others = tuple(_Row(**_row(found, live)) for i, live in sorted(listed.rows.items()) if i not in once)
    return _List(portfolios=others, failure=listed.failure, unreadable=listed.unreadable)


def parse_live(content: bytes | str) -> LiveFile:
    """Return the live state of a saved file.

    Raises :class:`LiveInvalid` for anything that is not such a file, is of another major format, or is too large.
    """
    return LIVE_FORMAT.parse(content, _live_file)


def _live_file(document: dict[str, Any]) -> LiveFile:
    saved = load(document, _Saved)
    entries = _by_id(saved.portfolios)
    others = _by_id(saved.list.portfolios) if saved.list is not None else {}
    known: dict[PortfolioId, _Row] = dict(sorted({**others, **entries}.items()))
    live = {i: _live(entry) for i, entry in entries.items()}
    rows = {i: live[i] for i, entry in entries.items() if entry.listed}
    # A row of the list must be on an API that lists, and each portfolio may appear only once.
    if any(i in others or (api := entries[i].api) is None or not api.can.lists for i in rows):
        raise ValueError("a row of the list that can't be one")
    if saved.list is None and rows:
        raise ValueError("rows of a list that is not there")
    for strategy in saved.strategies:
        if (strategy.cadence is not None) != (strategy.status is StrategyStatus.FOUND):
            raise ValueError("a cadence that no read found")
    strategies = _by_id(saved.strategies)
    listed = None
    if saved.list is not None:
        found = dict(sorted((rows | {i: _live(other) for i, other in others.items()}).items()))
        listed = PortfolioList(rows=found, failure=saved.list.failure, unreadable=saved.list.unreadable)
    return LiveFile(
        base_url=saved.base_url,
        as_of_ms=saved.as_of,
        journal=saved.journal,
        live=live,
        records={i: one.record for i, one in known.items() if one.record is not None},
        pauses={i: one.pause for i, one in known.items() if one.pause is not None},
        triggers={i: one.triggers for i, one in known.items() if one.triggers},
        versions={i: one.api for i, one in entries.items() if one.api is not None},
        listed=listed,
        strategies={i: StrategyLive(**_part(one, StrategyLive)) for i, one in strategies.items()},
        cadences={i: one.recorded for i, one in strategies.items() if one.recorded is not None},
    )


def _by_id(entries: Iterable[RowT]) -> dict[Any, RowT]:
    """Return portfolios or strategies by their id, sorted by it."""
    listed = sorted(entries, key=lambda entry: entry.id)
    found = {entry.id: entry for entry in listed}
    if len(found) < len(listed):
        raise ValueError("one id twice")
    return found


def _live(entry: _Row) -> Live:
    if list(entry.scheduled_ms) != sorted(entry.scheduled_ms, reverse=True):
        raise ValueError("runs that are not newest first: observed intervals and the last run would be wrong")
    return Live(**_part(entry, Live))


def _part(value: Struct, kind: type[Struct]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in kind.__struct_fields__}
