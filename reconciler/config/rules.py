"""What a schedule may be: the service's limits, as sentences for people.

In: milliseconds and a chain. Out: nothing where all is well, else a problem and its repair. The schema states the same
limits for bare numbers; only here they hold for text such as ``30m`` too. Knows no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.guards import ETHEREUM_MIN_INTERVAL_MS, MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.text import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

ETHEREUM: Final = frozenset({"ethereum", "1"})
"""The chains to which the minimum of ETH mainnet applies, by name and by chain id (API facts §6)."""

TAKEN_FOR_ETHEREUM: Final = frozenset(
    {"eth", "mainnet", "eth-mainnet", "ethereum-mainnet", "ethereum-1", "etherium", "etherum", "homestead"}
)
"""Names that people write for ETH mainnet; they do not turn its minimum on, which deserves a warning."""


NOT_ON_V2: Final[Mapping[str, str]] = {"interval": "interval_ms", "offset": "offset_ms", "run_on_start": "run_on_start"}
"""What a v2 portfolio can't have, by the names in YAML and in ``Desired``: v2 has no call for it (API facts §1.3)."""


def interval_problem(ms: int) -> tuple[str, str] | None:
    """Return what is wrong with an interval of ``ms`` on any chain (API facts §4.6, §6)."""
    if ms < 0:
        return "an interval can't be negative", _span_of_intervals()
    if ms < MIN_INTERVAL_MS:
        return f"{format_duration(ms)} is below the minimum of {format_duration(MIN_INTERVAL_MS)}", _span_of_intervals()
    if ms > MAX_INTERVAL_MS:
        return f"{_long(ms)} is above the maximum of {format_duration(MAX_INTERVAL_MS)}", _span_of_intervals()
    return None


def offset_problem(ms: int) -> tuple[str, str] | None:
    """Return what is wrong with an offset of ``ms`` whatever the interval (API facts §4.5)."""
    if ms < 0:
        return "an offset can't be negative", "write `0s` or more; a bare number is milliseconds"
    if ms >= MAX_INTERVAL_MS:
        problem = f"{_long(ms)} is longer than any interval may be"
        return problem, "write an offset below the interval; a bare number is milliseconds"
    return None


def ethereum_problem(interval_ms: int, chain: str) -> tuple[str, str] | None:
    """Return what is wrong with an interval on ``chain`` in particular (API facts §6)."""
    if chain not in ETHEREUM or interval_ms >= ETHEREUM_MIN_INTERVAL_MS:
        return None
    minimum = format_duration(ETHEREUM_MIN_INTERVAL_MS)
    problem = f"the interval {format_duration(interval_ms)} is below {minimum}, the minimum on ETH mainnet"
    return problem, f"write an interval of {minimum} or more"


def pair_problem(interval_ms: int, offset_ms: int) -> tuple[str, str] | None:
    """Return what is wrong with an offset and its interval together: ``0 <= offset < interval`` (API facts §4.5)."""
    if offset_ms < interval_ms:
        return None
    interval = format_duration(interval_ms)
    problem = f"the offset {format_duration(offset_ms)} is not below the interval {interval}"
    return problem, f"write an offset of less than {interval}"


def v2_problem(field: str) -> tuple[str, str]:
    """Return what is wrong with one of :data:`NOT_ON_V2` on a v2 portfolio (API facts §1.3, §5.3)."""
    if field == "run_on_start":
        problem = "a v2 portfolio is never started, only resumed, and then a rebalance is due at once"
        return problem, "remove the line"
    problem = f"a v2 portfolio has no {field} of its own: its cadence belongs to its strategy"
    return problem, "remove the line, and declare the strategy's `schedule` under `strategies`"


def v1_problem() -> tuple[str, str]:
    """Return what is wrong with ``strategy`` on a v1 portfolio (API facts §1.3)."""
    return "only a v2 portfolio has a strategy, and this one is managed by v1", "remove the line, or declare `api: v2`"


def _span_of_intervals() -> str:
    least, most = format_duration(MIN_INTERVAL_MS), format_duration(MAX_INTERVAL_MS)
    return f"write {least} to {most}; a bare number is milliseconds"


def _long(ms: int) -> str:
    text = format_duration(ms)
    return text if len(text) <= 20 else "this"  # forty digits help nobody
