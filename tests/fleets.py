"""Random fleets for the laws: what is live, and what is declared of it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reconciler.core.evidence import MARK
from reconciler.core.model import ApiVersion, Desired, PortfolioId, RunState
from tests.support import HOUR_MS

IDS = st.text("abcdefghij0123456789", min_size=1, max_size=8)
HOURS = st.sampled_from([1, 6, 12, 24, 36, 48, 168])
REASONS = st.sampled_from([f"Paused via API: Freeze {MARK}", "Paused from the app by maria", "Paused via API"])


@st.composite
def seeds(draw: st.DrawFn) -> dict[str, Any]:
    """Return one live portfolio in the sandbox's words."""
    status = draw(st.sampled_from(["inactive", "active", "active", "paused", "paused", "archived", "error"]))
    if status == "inactive":
        return {"status": status}
    hours = draw(HOURS)
    seed: dict[str, Any] = {
        "status": status,
        "interval": f"{hours}h",
        "started": f"{draw(st.integers(0, 30 * 24))}h",
    }
    if draw(st.booleans()):
        seed["offset"] = f"{draw(st.integers(0, hours * 60 - 1))}m"
    if status == "paused":
        seed["pause_reason"] = draw(REASONS)
    return seed


STRATEGIES: dict[str, dict[str, Any]] = {"S1": {"frequency": "daily"}, "S2": {"frequency": "hourly"}}
"""What the v2 portfolios of a fleet are enrolled in."""


@st.composite
def enrolled(draw: st.DrawFn) -> dict[str, Any]:
    """Return one live v2 portfolio in the sandbox's words; ``inactive`` has no schedule."""
    return {
        "api": "v2",
        "strategy": draw(st.sampled_from(sorted(STRATEGIES))),
        "status": draw(st.sampled_from(["active", "active", "paused", "paused", "inactive", "archived"])),
        "started": f"{draw(st.integers(1, 30 * 24))}h",
    }


@st.composite
def declared_v2(draw: st.DrawFn, portfolio: str) -> Desired:
    """Return one declared v2 portfolio."""
    return Desired(
        id=PortfolioId(portfolio),
        api=ApiVersion.V2,
        state=draw(st.sampled_from(RunState)),
        name=draw(st.none() | st.text(max_size=12)),
        reason=draw(st.none() | st.sampled_from(["Liquidity event", "Audit"])),
        hold_override=draw(st.sampled_from([False, True])),
    )


@st.composite
def declared(draw: st.DrawFn, portfolio: str) -> Desired:
    """Return one declared v1 portfolio, its offset below its interval as the files require."""
    hours = draw(st.none() | HOURS)
    highest = (hours or 1) * HOUR_MS - 1
    return Desired(
        id=PortfolioId(portfolio),
        state=draw(st.sampled_from(RunState)),
        interval_ms=hours * HOUR_MS if hours else None,
        offset_ms=draw(st.none() | st.integers(0, highest)),
        name=draw(st.none() | st.text(max_size=12)),
        reason=draw(st.none() | st.sampled_from(["Liquidity event", "Audit"])),
        hold_override=draw(st.sampled_from([False, False, False, True])),
        run_on_start=draw(st.booleans()),
    )


@st.composite
def fleets(draw: st.DrawFn, most: int = 6) -> tuple[dict[str, dict[str, Any]], list[Desired]]:
    """Return a live fleet and a declared one, of both APIs; they overlap, but neither holds the other."""
    ids = draw(st.lists(IDS, min_size=1, max_size=most, unique=True))
    of_v2 = draw(st.sets(st.sampled_from(ids)))
    live = {
        i: draw(enrolled() if i in of_v2 else seeds()) for i in ids if draw(st.sampled_from([True, True, True, False]))
    }
    live |= {name: draw(enrolled()) for name in draw(st.sampled_from([[], ["UNDECLARED"]]))}
    return live, [draw(declared_v2(i) if i in of_v2 else declared(i)) for i in ids]
