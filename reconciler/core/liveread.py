"""The saved form of live state, read back and checked: a file from elsewhere may hold anything.

In: text. Out: a :class:`~reconciler.core.livefile.LiveFile`, or an error that says what to do. Every value has the type
and the bounds that a read of the service gives it (:mod:`reconciler.api.codec`), and every text is made harmless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.desired import ApiVersion, PortfolioId
from reconciler.core.errors import ApiError, FailureKind, LiveInvalid
from reconciler.core.fleet import PortfolioList
from reconciler.core.jsonread import flag, maybe_text, number_within, portfolio_id, read_document, text
from reconciler.core.live import LATEST_MS, Live, Status
from reconciler.core.livefile import LIVE_FORMAT, LiveFile
from reconciler.core.plan import JournalState
from reconciler.core.planfile import TOOL, from_iso, iso
from reconciler.core.recordfile import parse_record
from reconciler.core.strategy import Cadence, StrategyId, StrategyLive, StrategyStatus
from reconciler.core.text import LONGEST_TEXT, harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST_LIVE_FILE: Final = 64 * 1024 * 1024
"""Bytes of a file that is read; one portfolio takes about 700 of them."""

_LONGEST: Final = 16 * LONGEST_TEXT
"""Characters of a text that is already harmless: each of the service's may have become an escape of ten."""
_HIGHEST: Final = 10**15
"""A bound for every number, as in the service's answers."""
_WITHOUT_V2: Final = "1.0"
"""The version that told nothing of v2: neither its list nor strategies, nor which API a portfolio was read on."""
_REPAIR: Final = "It is cut, edited or something else. Make it again with `reconciler status --out FILE`."


def parse_live(content: bytes | str) -> LiveFile:
    """Return the live state of a saved file.

    Raises :class:`LiveInvalid` for anything that is not such a file, is of another major format, or is too large.
    """
    if len(content) > LARGEST_LIVE_FILE:
        raise LiveInvalid(f"the live file is larger than {LARGEST_LIVE_FILE // 1024 // 1024} MiB", _REPAIR)
    try:
        document = read_document(content)
        _require_format(document["format_version"])
        return _live_file(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LiveInvalid("the file is not a live file", _REPAIR) from error


def _require_format(version: object) -> None:
    if str(version).split(".", maxsplit=1)[0] != LIVE_FORMAT.split(".", maxsplit=1)[0]:
        raise LiveInvalid(
            f"the live file has format version {version!s:.20}",
            f"This is {TOOL}, which reads version {LIVE_FORMAT}. Make the live file again with this version.",
        )


def _live_file(document: Mapping[str, Any]) -> LiveFile:
    as_of_ms = from_iso(text(document["as_of"]))
    if iso(as_of_ms) != document["as_of"]:
        raise ValueError("not a time as it is written here")
    older = document["format_version"] == _WITHOUT_V2
    entries = _by_id(document["portfolios"])
    listed = _by_id(document["list"]["portfolios"]) if not older and document["list"] is not None else {}
    strategies = {StrategyId(i): entry for i, entry in _by_id([] if older else document["strategies"]).items()}
    live = {i: _live(entry) for i, entry in entries.items()}
    versions = {} if older else {i: version for i, entry in entries.items() if (version := _version(entry))}
    rows = [] if older else [i for i, entry in entries.items() if flag(entry["listed"])]
    known = dict(sorted((listed | entries).items()))
    counts = (
        {} if older else {i: number_within(one["triggers"], lowest=0, highest=_HIGHEST) for i, one in known.items()}
    )
    return LiveFile(
        base_url=_harmless(document["base_url"]),
        as_of_ms=as_of_ms,
        journal=JournalState.IN_USE if older else JournalState(document["journal"]),
        live=live,
        records={i: parse_record(one["record"]) for i, one in known.items() if one["record"] is not None},
        pauses={} if older else {i: text(one["pause"]) for i, one in known.items() if one["pause"] is not None},
        triggers={i: count for i, count in counts.items() if count},
        versions=versions,
        listed=None if older else _list(document["list"], listed, {i: live[i] for i in rows}, versions),
        strategies={s: _strategy(s, entry) for s, entry in strategies.items()},
        cadences={s: Cadence(one["recorded"]) for s, one in strategies.items() if one["recorded"] is not None},
    )


def _by_id(entries: Sequence[Mapping[str, Any]]) -> dict[PortfolioId, Mapping[str, Any]]:
    """Return objects by their id, sorted by it; ids of strategies keep to the same pattern."""
    found = {portfolio_id(entry["id"]): entry for entry in entries}
    if len(found) < len(entries):
        raise ValueError("one id twice")
    return dict(sorted(found.items()))


def _version(entry: Mapping[str, Any]) -> ApiVersion | None:
    return ApiVersion(entry["api"]) if entry["api"] is not None else None


def _list(
    entry: Mapping[str, Any] | None,
    others: Mapping[PortfolioId, Mapping[str, Any]],
    rows: Mapping[PortfolioId, Live],
    versions: Mapping[PortfolioId, ApiVersion],
) -> PortfolioList | None:
    """Return the list of v2: ``rows``, which stand among the portfolios, and the ``others``, which stand here."""
    if any(versions.get(i) is not ApiVersion.V2 or i in others for i in rows) or (entry is None and rows):
        raise ValueError("a row of the list that can't be one")
    if entry is None:
        return None
    found = {**rows, **{i: _live(other) for i, other in others.items()}}
    return PortfolioList(
        rows=dict(sorted(found.items())),
        failure=_failure(entry["failure"]) if entry["failure"] is not None else None,
        unreadable=number_within(entry["unreadable"], lowest=0, highest=_HIGHEST),
    )


def _strategy(strategy: StrategyId, entry: Mapping[str, Any]) -> StrategyLive:
    status = StrategyStatus(entry["status"])
    cadence = Cadence(entry["cadence"]) if entry["cadence"] is not None else None
    if (cadence is not None) != (status is StrategyStatus.FOUND):
        raise ValueError("a cadence that no read found")
    return StrategyLive(
        id=strategy,
        status=status,
        cadence=cadence,
        word=_harmless(entry["word"]),
        failure=_failure(entry["failure"]) if entry["failure"] is not None else None,
    )


def _live(entry: Mapping[str, Any]) -> Live:
    return Live(
        id=portfolio_id(entry["id"]),
        status=Status(entry["status"]),
        word=_harmless(entry["word"]),
        interval_ms=_maybe_interval(entry["interval_ms"]),
        offset_ms=_maybe_number(entry["offset_ms"]),
        schedule_id=_maybe_harmless(entry["schedule_id"]),
        pause_reason=_maybe_harmless(entry["pause_reason"]),
        next_run_ms=_moment(entry["next_run_ms"]) if entry["next_run_ms"] is not None else None,
        scheduled_ms=_newest_first(entry["scheduled_ms"]),
        runs=_maybe_number(entry["runs"]),
        name=_maybe_harmless(entry["name"]),
        strategy=_maybe_harmless(entry["strategy"]),
        strategy_name=_maybe_harmless(entry["strategy_name"]),
        failure=_failure(entry["failure"]) if entry["failure"] is not None else None,
    )


def _failure(failure: Mapping[str, Any]) -> ApiError:
    return ApiError(
        FailureKind(failure["kind"]),
        _harmless(failure["message"]),
        status=_maybe_number(failure["status"]),
        code=_maybe_harmless(failure["code"]),
        request_id=_maybe_harmless(failure["request_id"]),
        correlation_id=_maybe_harmless(failure["correlation_id"]),
    )


def _newest_first(moments: Sequence[object]) -> tuple[int, ...]:
    """Return times of runs; in another order, observed intervals and the last run would be wrong."""
    found = tuple(_moment(moment) for moment in moments)
    if list(found) != sorted(found, reverse=True):
        raise ValueError("not newest first")
    return found


def _moment(value: object) -> int:
    return number_within(value, lowest=0, highest=LATEST_MS)


def _maybe_interval(value: object) -> int | None:
    """Return an interval: 0 is none, and nothing runs so often."""
    return None if value is None else number_within(value, lowest=1, highest=_HIGHEST)


def _maybe_number(value: object) -> int | None:
    return None if value is None else number_within(value, lowest=0, highest=_HIGHEST)


def _harmless(value: object) -> str:
    return harmless(text(value), longest=_LONGEST)


def _maybe_harmless(value: object) -> str | None:
    found = maybe_text(value)
    return None if found is None else _harmless(found)
