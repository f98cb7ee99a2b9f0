"""What a read shows of a write: the whole table, and that nothing is believed without proof."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.codec import iso
from reconciler.core.evidence import pause_id, with_mark
from reconciler.core.intent import (
    Before,
    Call,
    Effect,
    Intent,
    effect_on_portfolio,
    effect_on_strategy,
    is_the_same_pause,
    new_run,
)
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Live,
    PortfolioId,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    address_of,
)
from reconciler.core.rebalance import Rebalance, RebalanceStatus, RecentRebalances
from tests.support import HOUR_MS, NOON_MS

A, H = PortfolioId("a"), HOUR_MS
TOKEN, OTHER = "7f3a9c", "00002a"
OURS, THEIRS = with_mark("Freeze", TOKEN), "Paused from the app by maria"
V1, V2 = ApiVersion.V1, ApiVersion.V2
ACTIVE, PAUSED, INACTIVE = Status.ACTIVE, Status.PAUSED, Status.INACTIVE


def live(status: Status, reason: str | None = None, due: int | None = None, **more: Any) -> Live:
    """A portfolio; ``due`` is shown as v2 shows it, which is another field once it is paused."""
    if due is not None:
        more |= {"next_run_ms": due} if status is ACTIVE else {"schedule_id": pause_id(iso(due))}
    return Live(id=A, status=status, pause_reason=reason, **more)


def intent(call: Call, api: ApiVersion = V1, before: Before = Before(), **more: Any) -> Intent:  # noqa: B008 - frozen
    return Intent(address=A, call=call, token=TOKEN, api=api, before=before, **more)


DUE = Before(status=ACTIVE, due_ms=NOON_MS, interval_ms=H)
LIFTS, LIFTS_V2 = Before(status=PAUSED, pause_reason=OURS), Before(status=PAUSED, due_ms=NOON_MS)
SHOWN, UNCHANGED, ELSES, OPEN = Effect.SHOWN, Effect.UNCHANGED, Effect.SOMEBODY_ELSES, Effect.OPEN
ODD = (Status.ARCHIVED, Status.ERROR, Status.UNKNOWN, Status.NO_SCHEDULE, Status.NOT_FOUND, Status.UNREADABLE)

TABLE: dict[str, tuple[Intent, Live, Effect, Effect]] = {
    # what was sent, what is read, without a good answer, and with one
    "v1 pause, its own token": (intent(Call.PAUSE), live(PAUSED, OURS), SHOWN, SHOWN),
    "v1 pause, prefixed": (intent(Call.PAUSE), live(PAUSED, f"Paused via API: {OURS}"), SHOWN, SHOWN),
    "v1 pause, mark changed": (intent(Call.PAUSE), live(PAUSED, f"{OURS} (key 1)"), SHOWN, SHOWN),
    "v1 pause, mark cut within the token": (intent(Call.PAUSE), live(PAUSED, OURS[:-3]), ELSES, ELSES),
    "v1 pause, another pause of ours": (intent(Call.PAUSE), live(PAUSED, with_mark("x", OTHER)), ELSES, ELSES),
    "v1 pause, the mark of an older version": (intent(Call.PAUSE), live(PAUSED, "[glider-reconciler]"), ELSES, ELSES),
    "v1 pause, a person's": (intent(Call.PAUSE), live(PAUSED, THEIRS), ELSES, ELSES),
    "v1 pause, no reason": (intent(Call.PAUSE), live(PAUSED), ELSES, SHOWN),
    "v1 pause, an empty reason": (intent(Call.PAUSE), live(PAUSED, ""), ELSES, SHOWN),
    "v1 pause, it runs": (intent(Call.PAUSE), live(ACTIVE), UNCHANGED, UNCHANGED),
    "v1 pause, nothing there": (intent(Call.PAUSE), live(INACTIVE), OPEN, OPEN),
    "v2 pause, the same due time": (intent(Call.PAUSE, V2, DUE), live(PAUSED, due=NOON_MS), ELSES, SHOWN),
    "v2 pause, fell due in between": (intent(Call.PAUSE, V2, DUE), live(PAUSED, due=NOON_MS + 2 * H), ELSES, SHOWN),
    "v2 pause, resumed and paused": (intent(Call.PAUSE, V2, DUE), live(PAUSED, due=NOON_MS + 7), ELSES, ELSES),
    "v2 pause, no due time": (intent(Call.PAUSE, V2, DUE), live(PAUSED), ELSES, ELSES),
    "v2 pause, no due time before": (intent(Call.PAUSE, V2), live(PAUSED, due=NOON_MS), ELSES, ELSES),
    "v2 pause, it runs as before": (intent(Call.PAUSE, V2, DUE), live(ACTIVE, due=NOON_MS), UNCHANGED, UNCHANGED),
    "v2 pause, it runs one later": (intent(Call.PAUSE, V2, DUE), live(ACTIVE, due=NOON_MS + H), UNCHANGED, UNCHANGED),
    "v2 pause, somebody resumed it": (intent(Call.PAUSE, V2, DUE), live(ACTIVE, due=NOON_MS + 7), OPEN, OPEN),
    "v2 pause, it runs, nobody knows when": (intent(Call.PAUSE, V2, DUE), live(ACTIVE), OPEN, OPEN),
    "v1 resume, it runs": (intent(Call.RESUME, before=LIFTS), live(ACTIVE), SHOWN, SHOWN),
    "v1 resume, the same pause": (intent(Call.RESUME, before=LIFTS), live(PAUSED, OURS), UNCHANGED, UNCHANGED),
    "v1 resume, another pause": (intent(Call.RESUME, before=LIFTS), live(PAUSED, THEIRS), OPEN, OPEN),
    "v1 resume, a pause without a reason": (
        intent(Call.RESUME, before=Before(status=PAUSED)),
        live(PAUSED),
        OPEN,
        OPEN,
    ),
    "v1 resume, the same words of a person": (
        intent(Call.RESUME, before=Before(status=PAUSED, pause_reason=THEIRS)),
        live(PAUSED, THEIRS),
        OPEN,
        OPEN,
    ),
    "v2 resume, the same pause": (intent(Call.RESUME, V2, LIFTS_V2), live(PAUSED, due=NOON_MS), UNCHANGED, UNCHANGED),
    "v2 resume, another pause": (intent(Call.RESUME, V2, LIFTS_V2), live(PAUSED, due=NOON_MS + 7), OPEN, OPEN),
    "v2 resume, no due time": (intent(Call.RESUME, V2, Before(status=PAUSED)), live(PAUSED), OPEN, OPEN),
    "start, it runs": (intent(Call.START), live(ACTIVE), SHOWN, SHOWN),
    "start, nothing there": (intent(Call.START), live(INACTIVE), UNCHANGED, UNCHANGED),
    "start, paused by now": (intent(Call.START), live(PAUSED), OPEN, OPEN),
    "a rebalance shows in no status": (intent(Call.REBALANCE), live(ACTIVE), OPEN, OPEN),
    "a cadence shows in no portfolio": (intent(Call.SET_CADENCE), live(ACTIVE), OPEN, OPEN),
    **{f"v1 pause, {odd.value}": (intent(Call.PAUSE), live(odd), OPEN, OPEN) for odd in ODD},
    **{f"v1 resume, {odd.value}": (intent(Call.RESUME, before=LIFTS), live(odd), OPEN, OPEN) for odd in ODD},
    **{f"start, {odd.value}": (intent(Call.START), live(odd), OPEN, OPEN) for odd in ODD},
}


@pytest.mark.parametrize(("sent", "seen", "lost", "answered"), TABLE.values(), ids=TABLE)
def test_effect_on_a_portfolio(sent: Intent, seen: Live, lost: Effect, answered: Effect) -> None:
    """A lost answer needs a proof of its own; a good one is enough where the service keeps none."""
    assert effect_on_portfolio(sent, seen, answered=False) is lost
    assert effect_on_portfolio(sent, seen, answered=True) is answered


SETS = intent(
    Call.UPDATE_SCHEDULE, before=Before(status=ACTIVE, interval_ms=24 * H, offset_ms=0), interval_ms=12 * H, offset_ms=H
)


@pytest.mark.parametrize(
    ("sent", "interval", "offset", "effect"),
    [
        (SETS, 12 * H, H, SHOWN),
        (SETS, 24 * H, 0, UNCHANGED),
        (SETS, 12 * H, 0, OPEN),
        (SETS, 12 * H, None, OPEN),
        (SETS, 6 * H, H, OPEN),
        (SETS, 24 * H, H, OPEN),
        (SETS, None, None, OPEN),
        (replace(SETS, offset_ms=None), 12 * H, 0, SHOWN),
        (replace(SETS, offset_ms=None), 12 * H, None, SHOWN),
        (replace(SETS, before=Before(status=ACTIVE)), 24 * H, 0, OPEN),
    ],
)
def test_effect_of_an_update(sent: Intent, interval: int | None, offset: int | None, effect: Effect) -> None:
    """Only a schedule that is read shows anything; one that is neither the old nor the new is somebody else's."""
    found = live(ACTIVE, interval_ms=interval, offset_ms=offset)
    assert effect_on_portfolio(sent, found, answered=False) is effect


@pytest.mark.parametrize(
    ("status", "cadence", "before", "effect"),
    [
        (StrategyStatus.FOUND, Cadence.DAILY, Cadence.WEEKLY, SHOWN),
        (StrategyStatus.FOUND, Cadence.WEEKLY, Cadence.WEEKLY, UNCHANGED),
        (StrategyStatus.FOUND, Cadence.HOURLY, Cadence.WEEKLY, OPEN),
        (StrategyStatus.FOUND, Cadence.WEEKLY, None, OPEN),
        (StrategyStatus.UNKNOWN, None, None, OPEN),
        (StrategyStatus.NOT_FOUND, None, Cadence.WEEKLY, OPEN),
    ],
)
def test_effect_on_a_strategy(
    status: StrategyStatus, cadence: Cadence | None, before: Cadence | None, effect: Effect
) -> None:
    """A cadence proves itself; one that is neither the old nor the new is somebody else's."""
    strategy = StrategyId("S")
    sent = Intent(
        address=address_of(strategy),
        call=Call.SET_CADENCE,
        token=TOKEN,
        cadence=Cadence.DAILY,
        before=Before(cadence=before),
    )
    assert effect_on_strategy(sent, StrategyLive(id=strategy, status=status, cadence=cadence)) is effect


def run(name: str) -> Rebalance:
    return Rebalance(id=name, status=RebalanceStatus.RUNNING, word="triggered")


@pytest.mark.parametrize(
    ("before", "now", "listed", "found"),
    [
        (("a",), ("b", "a"), True, "b"),
        (("a",), ("c", "b", "a"), True, "c"),
        (("a",), ("a",), True, None),
        ((), ("a",), True, "a"),
        ((), (), True, None),
        (None, ("a",), True, None),
        (("a",), ("b",), False, None),
    ],
)
def test_new_run(before: tuple[str, ...] | None, now: tuple[str, ...], listed: bool, found: str | None) -> None:
    """The newest run that was not listed before; without a list on either side nothing is known."""
    asked = intent(Call.REBALANCE, before=Before(runs=before))
    new = new_run(asked, RecentRebalances(rebalances=tuple(map(run, now)), listed=listed))
    assert (new.id if new else None) == found


@pytest.mark.parametrize("status", [status for status in Status if status is not PAUSED])
def test_only_what_is_paused_is_in_a_pause(status: Status) -> None:
    """Another status is no pause, whatever reason it still shows."""
    assert not is_the_same_pause(intent(Call.RESUME, before=LIFTS), live(status, OURS))
