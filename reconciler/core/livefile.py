"""The live file: what one look at the service found, so that a plan can be made from it later, without a key.

In: what was read of portfolios, of the list of v2 and of strategies; or the text of such files. Out: the text, or these
values, or an error that says what to do. A file holds one share of a fleet, which may be all of it, and the time of the
look (``as_of``); the shares of one round are joined to one look. It holds no key and nothing from a journal: what we
confirmed comes from the journal of whoever plans. A file from elsewhere may hold anything, so each value must have the
type and bounds of a value that the service sends, and every text is made harmless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct, field

from reconciler.core.codec import Count, Moment, SavedFormat, Shown, dump, load
from reconciler.core.errors import ApiError, LiveInvalid
from reconciler.core.fleet import Fleet, PortfolioList, asks_for_list
from reconciler.core.model import (
    ApiVersion,
    Live,
    PortfolioId,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    address_of,
)
from reconciler.core.shares import WHOLE, Shard, share_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.model import Address, Desired

LIVE_FORMAT: Final = SavedFormat(
    file="the live file",
    what="the live file",
    is_none="a live file",
    version="3.0",
    command="reconciler status --out FILE",
    # One portfolio takes 300 to 700 bytes; a fleet that reaches this limit would not fit into memory.
    largest=4 * 1024 * 1024 * 1024,
    key="portfolios",
    first="as_of",
    error=LiveInvalid,
)


class LiveFile(Struct, frozen=True, kw_only=True):
    """One look at one service, or a share of it. Every mapping is keyed by portfolio id, or by strategy id, and sorted.

    ``as_of_ms`` is the time before the first read, UTC epoch milliseconds by the service's clock: nothing in here is
    older. ``round`` is the same word in all shares that belong together. ``config_digest`` identifies the files that
    declared what was read, ``account`` is that of the key, if it was known. ``versions`` says on which API each
    portfolio was read. ``listed`` is the list of v2 portfolios, ``None`` if it was not read.
    """

    base_url: str
    account: str | None = None
    as_of_ms: int
    shard: Shard = WHOLE
    round: str = ""
    config_digest: str = ""
    live: Mapping[PortfolioId, Live]
    versions: Mapping[PortfolioId, ApiVersion]
    listed: PortfolioList | None = None
    strategies: Mapping[StrategyId, StrategyLive] = field(default_factory=dict)


class JoinedLive(Struct, frozen=True, kw_only=True):
    """The look that the shares of one round make together.

    ``as_of_ms`` is the time of the oldest share; ``read_ms`` says when everything in the other shares was read.
    ``of`` is the number of shares in the round, and ``missing`` are the numbers of those that are not there.
    """

    base_url: str
    account: str | None
    as_of_ms: int
    round: str
    of: int
    missing: tuple[int, ...]
    live: Mapping[PortfolioId, Live]
    versions: Mapping[PortfolioId, ApiVersion]
    listed: PortfolioList | None
    strategies: Mapping[StrategyId, StrategyLive]
    read_ms: Mapping[Address, int]

    def fleet_of(self, desired: Mapping[PortfolioId, Desired], *, whole: bool) -> Fleet:
        """Return what a read of these portfolios would have found; ``whole`` says that all declared ones are selected.

        A portfolio that is not in here, or was read on the other API, is ``NOT_READ``, which blocks. The list is used
        only if a look at the service would have read it, so that the plan is the same.
        """
        asked = asks_for_list((one.api for one in desired.values()), whole=whole)
        return Fleet(live={i: self._live_of(one) for i, one in desired.items()}, listed=self.listed if asked else None)

    def _live_of(self, desired: Desired) -> Live:
        found = self.live.get(desired.id)
        if found is not None and self.versions[desired.id] is desired.api:
            return found
        listed = self.listed.rows.get(desired.id) if self.listed is not None else None
        if listed is not None and desired.api.can.lists:
            return listed
        return Live(id=desired.id, status=Status.NOT_READ)


def join_live(files: Sequence[tuple[str, LiveFile]]) -> JoinedLive:
    """Return what these files (at least one, each with its name) hold together. A share may be missing.

    Raises :class:`LiveInvalid`, which names both files, if two are from different rounds, or hold the same share or the
    same portfolio; and for a file that holds what belongs to another share.
    """
    by_share: dict[int, tuple[str, LiveFile]] = {}
    holder: dict[PortfolioId, str] = {}
    for name, found in files:
        _require_same_round(files[0], (name, found))
        if (other := by_share.get(found.shard.number)) is not None:
            raise LiveInvalid(f"{other[0]} and {name} both hold the share {found.shard}", _ONE_ROUND)
        by_share[found.shard.number] = name, found
        for portfolio in found.live:
            if (before := holder.setdefault(portfolio, name)) != name:
                raise LiveInvalid(f"{before} and {name} both hold the portfolio {portfolio}", _ONE_ROUND)
    for name, found in files:
        _require_own(name, found)
    shares = [found for _, (_, found) in sorted(by_share.items())]
    head, of = shares[0], shares[0].shard.of
    first = head if head.shard.is_first else None
    oldest_ms = min(share.as_of_ms for share in shares)
    return JoinedLive(
        base_url=head.base_url,
        account=head.account,
        as_of_ms=oldest_ms,
        round=head.round,
        of=of,
        missing=tuple(number for number in range(1, of + 1) if number not in by_share),
        live={i: live for share in shares for i, live in share.live.items()},
        versions={i: api for share in shares for i, api in share.versions.items()},
        listed=first.listed if first is not None else None,
        strategies=first.strategies if first is not None else {},
        read_ms={i: share.as_of_ms for share in shares if share.as_of_ms != oldest_ms for i in _addresses(share)},
    )


def _addresses(share: LiveFile) -> Iterator[Address]:
    """Yield everything that a share holds, perhaps more than once."""
    yield from share.live
    yield from share.listed.rows if share.listed is not None else ()
    yield from map(address_of, share.strategies)


_ONE_ROUND: Final = "Plan from the files of one round, each share once; read the others again."


def _require_same_round(first: tuple[str, LiveFile], second: tuple[str, LiveFile]) -> None:
    (one, left), (other, right) = first, second
    for what, here, there in (
        ("services", left.base_url, right.base_url),
        ("accounts", left.account or "unknown", right.account or "unknown"),
        ("numbers of shares", str(left.shard.of), str(right.shard.of)),
        ("rounds", left.round, right.round),
        ("configurations", left.config_digest, right.config_digest),
    ):
        if here != there:
            raise LiveInvalid(f"{one} and {other} are of two {what}: {here} and {there}", _ONE_ROUND)


def _require_own(name: str, found: LiveFile) -> None:
    """Raise :class:`LiveInvalid` for a file that holds what another share reads: it was not made by us."""
    shard = found.shard
    for portfolio, api in found.versions.items():
        if (owner := share_of(portfolio, api, of=shard.of)) != shard.number:
            raise LiveInvalid(
                f"{name} is the share {shard}, and holds {portfolio}, which belongs to the share {owner}/{shard.of}",
                LIVE_FORMAT.repair,
            )
    if not shard.is_first and (found.listed is not None or found.strategies):
        what = "strategies" if found.listed is None else "a list"
        raise LiveInvalid(f"{name} is the share {shard}, and holds {what}, as only the first does", LIVE_FORMAT.repair)


class _Portfolio(Live, frozen=True, kw_only=True):
    """A portfolio that was read. ``listed`` says that the list holds the same values; then they are saved only once."""

    api: ApiVersion
    listed: bool = False


class _List(Struct, frozen=True, kw_only=True):
    """The rows of the list that were not saved as portfolios, and whether the list is complete."""

    portfolios: tuple[Live, ...]
    failure: ApiError | None
    unreadable: Count


RowT = TypeVar("RowT", Live, _Portfolio, StrategyLive)


class _Saved(Struct, frozen=True, kw_only=True):
    as_of: Moment
    base_url: Shown
    account: Shown | None
    shard: Shard
    round: Shown
    config: Shown
    portfolios: tuple[_Portfolio, ...]
    list: _List | None
    strategies: tuple[StrategyLive, ...]


def format_live(found: LiveFile) -> str:
    """Return the file as JSON text that ends in a line break; the same look gives the same text."""
    saved = _Saved(
        as_of=found.as_of_ms,
        base_url=found.base_url,
        account=found.account,
        shard=found.shard,
        round=found.round,
        config=found.config_digest,
        portfolios=tuple(
            _Portfolio(**_fields_of(live), api=found.versions[i], listed=_is_row(found, live))
            for i, live in sorted(found.live.items())
        ),
        list=_list(found, found.listed) if found.listed is not None else None,
        strategies=tuple(live for _, live in sorted(found.strategies.items())),
    )
    return LIVE_FORMAT.text(dump(saved))


def _is_row(found: LiveFile, live: Live) -> bool:
    """Whether the list holds this portfolio with the same values as the read."""
    if found.listed is None or not found.versions[live.id].can.lists:
        return False
    return found.listed.rows.get(live.id) == live


def _list(found: LiveFile, listed: PortfolioList) -> _List:
    once = {i for i, live in found.live.items() if _is_row(found, live)}
    others = tuple(live for i, live in sorted(listed.rows.items()) if i not in once)
    return _List(portfolios=others, failure=listed.failure, unreadable=listed.unreadable)


def parse_live(content: bytes | str) -> LiveFile:
    """Return the live state of a saved file.

    Raises :class:`LiveInvalid` for anything that is not such a file, is of another major format, or is too large.
    """
    return LIVE_FORMAT.parse(content, _live_file)


def _live_file(document: dict[str, Any]) -> LiveFile:
    saved = load(document, _Saved)
    if saved.shard.number > saved.shard.of:
        raise ValueError("a share beyond the last")
    entries = _by_id(saved.portfolios)
    others = _by_id(saved.list.portfolios) if saved.list is not None else {}
    for entry in (*entries.values(), *others.values()):
        if len(entry.scheduled_ms) > 1 and list(entry.scheduled_ms) != sorted(entry.scheduled_ms, reverse=True):
            raise ValueError("runs that are not newest first: observed intervals and the last run would be wrong")
    live = {i: Live(**_fields_of(entry)) for i, entry in entries.items()}
    rows = {i: live[i] for i, entry in entries.items() if entry.listed}
    # A row of the list must be on an API that lists, and each portfolio may appear only once.
    if any(i in others or not entries[i].api.can.lists for i in rows):
        raise ValueError("a row of the list that can't be one")
    if saved.list is None and rows:
        raise ValueError("rows of a list that is not there")
    for strategy in saved.strategies:
        if (strategy.cadence is not None) != (strategy.status is StrategyStatus.FOUND):
            raise ValueError("a cadence that no read found")
    listed = None
    if saved.list is not None:
        found = dict(sorted((rows | others).items()))
        listed = PortfolioList(rows=found, failure=saved.list.failure, unreadable=saved.list.unreadable)
    return LiveFile(
        base_url=saved.base_url,
        account=saved.account,
        as_of_ms=saved.as_of,
        shard=saved.shard,
        round=saved.round,
        config_digest=saved.config,
        live=live,
        versions={i: one.api for i, one in entries.items()},
        listed=listed,
        strategies=_by_id(saved.strategies),
    )


def _by_id(entries: Iterable[RowT]) -> dict[Any, RowT]:
    """Return portfolios or strategies by their id, sorted by it."""
    listed = sorted(entries, key=lambda entry: entry.id)
    found = {entry.id: entry for entry in listed}
    if len(found) < len(listed):
        raise ValueError("one id twice")
    return found


def _fields_of(live: Live) -> dict[str, Any]:
    """Return the values of a portfolio as read, without what its entry in a file has besides."""
    return {name: getattr(live, name) for name in Live.__struct_fields__}
