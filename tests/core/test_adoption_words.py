"""What is said of a portfolio or strategy that is left out, and the ends of what may be declared, to the letter."""

from __future__ import annotations

import pytest

from reconciler.core.adoption import Adopted, Omitted, declare_portfolio, declare_strategy
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.guards import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import ApiVersion, Live, PortfolioId, Status, StrategyId, StrategyLive, StrategyStatus
from reconciler.core.text import DAY_MS, LONGEST_LABEL, label

V1, V2 = ApiVersion.V1, ApiVersion.V2
ID, SID = PortfolioId("aaa"), StrategyId("own")
LONG = "w" * 400
BROKEN = ApiError(FailureKind.SERVER, "it broke", status=500)
ENDLESS = ApiError(FailureKind.SERVER, LONG)
KEEPS_NONE = "Glider keeps no schedule for it: look at its strategy there"

SENTENCES = [
    (Live(id=ID, status=Status.NO_SCHEDULE), V1, KEEPS_NONE),
    (Live(id=ID, status=Status.INACTIVE), V2, KEEPS_NONE),
    (Live(id=ID, status=Status.ARCHIVED), V1, "archived"),
    (Live(id=ID, status=Status.ERROR), V1, "Glider reports the status 'error': look at it there"),
    (Live(id=ID, status=Status.UNKNOWN, word="odd"), V1, "Glider reports 'odd', which this version does not know"),
    (
        Live(id=ID, status=Status.UNKNOWN, word=LONG),
        V1,
        f"Glider reports '{LONG[:59]}…', which this version does not know",
    ),
    (Live(id=ID, status=Status.NOT_FOUND), V2, "v2 has no such portfolio, or the key may not see it"),
    (Live(id=ID, status=Status.UNREADABLE, failure=BROKEN), V1, "could not be read: it broke (HTTP 500)"),
    (Live(id=ID, status=Status.UNREADABLE, failure=ENDLESS), V1, f"could not be read: {LONG[:299]}…"),
    (Live(id=ID, status=Status.NOT_READ), V1, "could not be read: no answer"),
]


@pytest.mark.parametrize(("live", "api", "detail"), SENTENCES)
def test_why_a_portfolio_is_left_out(live: Live, api: ApiVersion, detail: str) -> None:
    """Every reason is a sentence for people, and what the service said in it is cut to a length."""
    found = declare_portfolio(live, None, api=api)
    assert isinstance(found, Omitted)
    assert (found.detail, found.failure) == (detail, live.failure)


STRATEGIES = [
    (StrategyStatus.NOT_FOUND, "", None, "its cadence is not yours to read or set: it is another tenant's, or gone"),
    (StrategyStatus.UNREADABLE, "", BROKEN, "its cadence could not be read: it broke (HTTP 500)"),
    (StrategyStatus.UNREADABLE, "", None, "its cadence could not be read: no answer"),
    (StrategyStatus.UNKNOWN, "odd", None, "its cadence is 'odd', which this version does not know"),
    (StrategyStatus.UNKNOWN, LONG, None, f"its cadence is '{LONG[:59]}…', which this version does not know"),
    (StrategyStatus.UNKNOWN, "", None, "it has no cadence that Glider tells of"),
    (StrategyStatus.FOUND, "", None, "it has no cadence that Glider tells of"),
    (StrategyStatus.NOT_READ, "", None, "it has no cadence that Glider tells of"),
]


@pytest.mark.parametrize(("status", "word", "failure", "sentence"), STRATEGIES)
def test_why_a_strategy_is_left_out(status: StrategyStatus, word: str, failure: ApiError | None, sentence: str) -> None:
    """What is not known of a cadence is said, and nothing is declared."""
    assert declare_strategy(StrategyLive(id=SID, status=status, word=word, failure=failure)) == sentence


@pytest.mark.parametrize(
    ("interval_ms", "declared"),
    [
        (MIN_INTERVAL_MS - 1, None),
        (MIN_INTERVAL_MS, MIN_INTERVAL_MS),
        (MAX_INTERVAL_MS, MAX_INTERVAL_MS),
        (MAX_INTERVAL_MS + 1, None),
    ],
)
def test_the_ends_of_what_may_be_declared(interval_ms: int, declared: int | None) -> None:
    """The shortest and the longest interval of the files are still declared."""
    found = declare_portfolio(Live(id=ID, status=Status.ACTIVE, interval_ms=interval_ms), None, api=V1)
    assert isinstance(found, Adopted)
    assert found.desired.interval_ms == declared


@pytest.mark.parametrize(("offset_ms", "declared"), [(0, 0), (DAY_MS - 1, DAY_MS - 1), (DAY_MS, None)])
def test_an_offset_fits_into_its_interval(offset_ms: int, declared: int | None) -> None:
    """The files refuse an offset that is not shorter than the interval, so none is declared."""
    found = declare_portfolio(Live(id=ID, status=Status.ACTIVE, interval_ms=DAY_MS, offset_ms=offset_ms), None, api=V1)
    assert isinstance(found, Adopted)
    assert found.desired.offset_ms == declared


def test_a_name_and_a_reason_are_taken_only_where_they_are_some() -> None:
    """No name stays none, a name that is the id is none, and a reason is kept of a pause alone."""
    unnamed = declare_portfolio(Live(id=ID, status=Status.ACTIVE, pause_reason="Freeze"), None, api=V1)
    assert isinstance(unnamed, Adopted)
    assert (unnamed.desired.name, unnamed.desired.reason) == (None, None)
    same = declare_portfolio(Live(id=ID, status=Status.ACTIVE, name="aaa"), None, api=V1)
    assert isinstance(same, Adopted)
    assert same.desired.name is None
    other = declare_portfolio(
        Live(id=ID, status=Status.PAUSED, name="Live", pause_reason="Freeze"), None, api=V1, name="Other"
    )
    assert isinstance(other, Adopted)
    assert (other.desired.name, other.desired.reason) == ("Live", "Freeze")


def test_a_label_of_the_greatest_length_is_kept_whole() -> None:
    """What just fits is not cut, and nothing is unlike by itself."""
    assert label("x" * LONGEST_LABEL) == "x" * LONGEST_LABEL
    assert label("x" * (LONGEST_LABEL + 1)) == "x" * (LONGEST_LABEL - 1) + "…"
    assert label("XXXX") == "XXXX"
