"""Reading again until something is seen: how often, how long, and what is left at the end."""

from __future__ import annotations

import pytest

from reconciler.apply.reread import WAITS_SECONDS, Sight, look_until
from reconciler.core.desired import PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status
from tests.apply.scripted import Scripted
from tests.support import NOON_MS, run

A = PortfolioId("aaa")
RUNS, RESTS = Live(id=A, status=Status.ACTIVE), Live(id=A, status=Status.PAUSED)
ODD = Live(id=A, status=Status.ARCHIVED)
NO_KEY = ApiError(FailureKind.UNAUTHENTICATED, "no key")
FORBIDDEN = ApiError(FailureKind.FORBIDDEN, "not you")
AWAY = ApiError(FailureKind.UNREACHABLE, "no connection")


@pytest.mark.parametrize(
    ("answers", "sight", "waited_ms"),
    [
        ([RESTS], Sight(RESTS, expected=True), 0),
        ([RUNS, RESTS], Sight(RESTS, expected=True), 200),
        ([RUNS, ODD, RUNS, RUNS, RESTS], Sight(RESTS, expected=True), 3000),
        ([RUNS, RUNS, RUNS, RUNS, ODD], Sight(ODD, expected=False), 3000),
        ([AWAY, RESTS], Sight(RESTS, expected=True), 200),
        ([AWAY] * 5, Sight(None, expected=False), 3000),
        ([RUNS, RUNS, RUNS, RUNS, AWAY], Sight(None, expected=False), 3000),
        ([AWAY, AWAY, AWAY, AWAY, RUNS], Sight(RUNS, expected=False), 3000),
        ([NO_KEY], Sight(None, expected=False), 0),
        ([RUNS, NO_KEY], Sight(None, expected=False), 200),
        ([RUNS, RUNS, FORBIDDEN], Sight(None, expected=False), 600),
    ],
)
def test_until(answers: list[object], sight: Sight[Live], waited_ms: int) -> None:
    """Five looks at most, until one shows it; a failed read shows nothing, a refused key ends it."""
    api = Scripted(*answers)
    looking = look_until(lambda: api.read(A), lambda live: live.status is Status.PAUSED, api.clock)
    assert run(looking) == sight
    assert api.asked == [("read", A)] * len(answers)
    assert api.clock.now_ms() == NOON_MS + waited_ms


def test_waits() -> None:
    """Five looks within three seconds, the first at once."""
    assert WAITS_SECONDS == (0.0, 0.2, 0.4, 0.8, 1.6)
