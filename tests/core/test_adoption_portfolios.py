"""What is declared of one live portfolio: state, what is known of its schedule, name and reason, or why nothing."""

from __future__ import annotations

import pytest

from reconciler.core.adoption import (
    Adopted,
    OmitReason,
    Omitted,
    declarable_reason,
    declare_portfolio,
    declare_strategy,
)
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import MARK
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    Live,
    PortfolioId,
    Record,
    RunState,
    Status,
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyStatus,
)
from reconciler.core.text import DAY_MS, HOUR_MS, label

ID = PortfolioId("aaa")
NOON = 1_795_348_800_000
GRID = (NOON, NOON - DAY_MS, NOON - 2 * DAY_MS)


def record(interval_ms: int | None = 6 * HOUR_MS, offset_ms: int | None = 0) -> Record:
    return Record(
        state=RunState.ACTIVE, interval_ms=interval_ms, offset_ms=offset_ms, schedule_id=None, confirmed_ms=NOON
    )


NOT_KNOWN = "interval not known: Glider does not return it"
SCHEDULES = {
    "nothing known": (Live(id=ID, status=Status.ACTIVE), None, None, None, NOT_KNOWN),
    "observed": (
        Live(id=ID, status=Status.ACTIVE, scheduled_ms=GRID),
        *(None, DAY_MS, None, "interval observed, offset not known"),
    ),
    "recorded": (
        Live(id=ID, status=Status.ACTIVE),
        *(record(), 6 * HOUR_MS, 0, "interval and offset recorded"),
    ),
    "recorded while paused": (
        Live(id=ID, status=Status.PAUSED),
        *(record(), 6 * HOUR_MS, 0, "interval and offset recorded"),
    ),
    "read": (
        Live(id=ID, status=Status.ACTIVE, interval_ms=DAY_MS, offset_ms=HOUR_MS),
        *(None, DAY_MS, HOUR_MS, "interval and offset read"),
    ),
    "read, with a record of the offset": (
        Live(id=ID, status=Status.ACTIVE, interval_ms=6 * HOUR_MS),
        *(record(), 6 * HOUR_MS, 0, "interval read, offset recorded"),
    ),
    "observed against the record": (
        Live(id=ID, status=Status.ACTIVE, scheduled_ms=tuple(ms + 3 * DAY_MS for ms in GRID)),
        *(record(), DAY_MS, None, "interval observed, offset not known"),
    ),
    "an offset without its interval": (
        Live(id=ID, status=Status.ACTIVE),
        *(record(interval_ms=None, offset_ms=HOUR_MS), None, None, NOT_KNOWN),
    ),
    "too short to be declared": (
        Live(id=ID, status=Status.ACTIVE, scheduled_ms=(NOON, NOON - 60_000, NOON - 120_000)),
        *(None, None, None, "interval left out: outside of what may be declared"),
    ),
    "inactive": (Live(id=ID, status=Status.INACTIVE), record(), None, None, "inactive: nothing runs"),
}


@pytest.mark.parametrize(("live", "known", "interval", "offset", "note"), SCHEDULES.values(), ids=SCHEDULES.keys())
def test_only_what_is_known_of_a_schedule_is_declared(
    live: Live, known: Record | None, interval: int | None, offset: int | None, note: str
) -> None:
    """Interval and offset are declared as far as they are known, and a note says how, or why not."""
    found = declare_portfolio(live, known, api=ApiVersion.V1)
    assert isinstance(found, Adopted)
    assert (found.desired.interval_ms, found.desired.offset_ms) == (interval, offset)
    assert found.notes == (note,)


@pytest.mark.parametrize(
    ("status", "api", "state"),
    [
        (Status.ACTIVE, ApiVersion.V1, RunState.ACTIVE),
        (Status.PAUSED, ApiVersion.V1, RunState.PAUSED),
        (Status.INACTIVE, ApiVersion.V1, RunState.PAUSED),
        (Status.ACTIVE, ApiVersion.V2, RunState.ACTIVE),
        (Status.PAUSED, ApiVersion.V2, RunState.PAUSED),
    ],
)
def test_state_is_as_it_was_found(status: Status, api: ApiVersion, state: RunState) -> None:
    """What runs is active; what does not run is paused, and on v2 there is never a schedule."""
    found = declare_portfolio(Live(id=ID, status=status, interval_ms=DAY_MS, name="Growth"), None, api=api)
    assert isinstance(found, Adopted)
    assert (found.desired.state, found.desired.api, found.desired.name) == (state, api, "Growth")
    if api is ApiVersion.V2:
        assert found.desired == Desired(id=ID, state=state, api=api, name="Growth")


@pytest.mark.parametrize(
    ("status", "api", "reason", "failure"),
    [
        (Status.ARCHIVED, ApiVersion.V1, OmitReason.ARCHIVED, False),
        (Status.ERROR, ApiVersion.V1, OmitReason.ERROR_STATUS, False),
        (Status.NO_SCHEDULE, ApiVersion.V2, OmitReason.NO_SCHEDULE, False),
        (Status.INACTIVE, ApiVersion.V2, OmitReason.NO_SCHEDULE, False),
        (Status.UNKNOWN, ApiVersion.V1, OmitReason.UNKNOWN_STATUS, True),
        (Status.NOT_FOUND, ApiVersion.V2, OmitReason.NOT_FOUND, True),
        (Status.UNREADABLE, ApiVersion.V1, OmitReason.READ_FAILED, True),
        (Status.NOT_READ, ApiVersion.V1, OmitReason.READ_FAILED, True),
    ],
)
def test_what_cannot_be_managed_is_left_out(status: Status, api: ApiVersion, reason: OmitReason, failure: bool) -> None:
    """Every status that a plan would block is left out with its reason, and what is not known counts as a failure."""
    problem = ApiError(FailureKind.SERVER, "it\x1b[2J broke", status=500) if status is Status.UNREADABLE else None
    found = declare_portfolio(Live(id=ID, status=status, word="odd\nword", failure=problem), None, api=api)
    assert isinstance(found, Omitted)
    assert (found.id, found.api, found.reason, found.reason.is_failure) == (ID, api, reason, failure)
    assert found.failure is problem
    assert found.detail.isprintable()


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, None),
        ("", None),
        ("Paused via API", None),
        (f"Paused via API: Freeze {MARK}", "Freeze"),
        (f"Paused via API: Declared in Git {MARK}", None),
        ("Paused via API: Freeze", "Freeze"),
        ("Paused from the app by maria", "Paused from the app by maria"),
        (f"Freeze {MARK} by maria", "Freeze  by maria"),
        (f"[glider-rec{MARK}onciler]", None),
        (f" {MARK} ", None),
        ("\t\n", None),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_a_pause_reason_is_kept_without_prefix_and_mark(stored: str | None, expected: str | None) -> None:
    """The service's prefix and our mark are taken off; a stock phrase tells nothing and is left out."""
    live = Live(id=ID, status=Status.PAUSED, pause_reason=stored)
    found = declare_portfolio(live, None, api=ApiVersion.V1)
    assert isinstance(found, Adopted)
    assert declarable_reason(stored) == found.desired.reason == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  \u00a0 ", None),
        (" Growth ", "Growth"),
        ("aaa", None),
        ("a\u202eb", "a\\u{202e}b"),
        ("\u202e" * 100, ("\\u{202e}" * 100)[:199] + "…"),
    ],
)
def test_a_name_is_kept_where_it_tells_something(text: str, expected: str | None) -> None:
    """A name loses what is invisible and what is too long; one that is the id, or empty, is none."""
    assert label(text, unlike="aaa") == expected
    assert expected is None or len(expected) <= 200


def test_only_a_cadence_that_was_read_is_declared() -> None:
    """A strategy is declared where its cadence is known; otherwise a sentence says why not."""
    sid = StrategyId("own")
    found = declare_strategy(StrategyLive(id=sid, status=StrategyStatus.FOUND, cadence=Cadence.DAILY))
    assert found == StrategyDesired(id=sid, schedule=Cadence.DAILY)
    named = declare_strategy(StrategyLive(id=sid, status=StrategyStatus.FOUND, cadence=Cadence.DAILY), name="Momentum")
    assert named == StrategyDesired(id=sid, schedule=Cadence.DAILY, name="Momentum")
    same = declare_strategy(StrategyLive(id=sid, status=StrategyStatus.FOUND, cadence=Cadence.DAILY), name="own")
    assert same == found
    others = [StrategyLive(id=sid, status=status, word="x\n") for status in StrategyStatus if status != "found"]
    sentences = [declare_strategy(one) for one in others]
    assert all(isinstance(one, str) and one.isprintable() for one in sentences)
    assert len({str(one) for one in sentences}) >= 3
