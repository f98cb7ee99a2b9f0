"""Limits: Glider's own, a team's, and the sentence that names the flag."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.guards import (
    ETHEREUM_MIN_INTERVAL_MS,
    MAX_INTERVAL_MS,
    MIN_INTERVAL_MS,
    Guards,
    Limit,
    check_guards,
    still_over,
)
from reconciler.core.model import PortfolioId, Verb
from reconciler.core.plan import Excess, Guarded
from tests.core.plans import BARE


def test_gliders_own() -> None:
    """An hour, a day on Ethereum, and 365 days (API facts §4.6, §6)."""
    assert (MIN_INTERVAL_MS, ETHEREUM_MIN_INTERVAL_MS, MAX_INTERVAL_MS) == (3_600_000, 86_400_000, 31_536_000_000)


@pytest.mark.parametrize(
    ("limit", "managed", "through"),
    [
        (Limit("", count=0, percent=50), 100, 0),
        (Limit("", percent=0, floor=5), 100, 0),
        (Limit("", percent=0.5, floor=5), 100, 5),
        (Limit("", percent=0.5), 1000, 5),
        (Limit("", percent=1), 99, 1),
        (Limit("", percent=1), 0, 1),
        (Limit("", percent=1, floor=0), 99, 0),
        (Limit("", percent=33.3), 10, 3),
        (Limit("", percent=10, floor=5), 59, 5),
        (Limit("", percent=10, floor=5), 60, 6),
        (Limit(""), 100, 0),
    ],
)
def test_allows(limit: Limit, managed: int, through: int) -> None:
    """A number is a number; a share is rounded down, and a positive one never lets fewer through than its floor."""
    assert limit.allows(managed) == through


ALL = Guards(
    max_start=Limit("1", count=1),
    max_resume=Limit("2", count=2),
    max_pause=Limit("3", count=3),
    max_update=Limit("4", count=4),
)


@pytest.mark.parametrize(("verb", "count"), [(Verb.START, 1), (Verb.RESUME, 2), (Verb.PAUSE, 3), (Verb.UPDATE, 4)])
def test_every_verb_has_its_own(verb: Verb, count: int) -> None:
    """Each verb is held to its own limit: at it, all go; one more is an excess that tells both numbers."""
    assert ALL.limit(Guarded(verb)) == Limit(str(count), count=count)
    changes = [replace(BARE, id=PortfolioId(f"p{number}"), verb=verb) for number in range(count + 1)]
    assert check_guards(changes[1:], ALL, managed=0) == ()
    assert check_guards(changes, ALL, managed=0) == (
        Excess(guarded=Guarded(verb), planned=count + 1, allowed=count, limit=str(count)),
    )
    assert check_guards(changes, replace(ALL, **{f"max_{verb.value}": None}), managed=0) == ()


def test_several_at_once() -> None:
    """Every excess is found, in the order in which people should read the verbs, by shares of the managed fleet."""
    half = Limit("50%", percent=50)
    guards = Guards(max_start=half, max_resume=None, max_pause=half, max_update=half)
    changes = [
        replace(BARE, id=PortfolioId(f"{verb}{number}"), verb=verb)
        for verb in (Verb.PAUSE, Verb.UPDATE, Verb.RESUME, Verb.START)
        for number in range(3)
    ]
    over = check_guards(changes, guards, managed=4)
    assert over == tuple(
        Excess(guarded=guarded, planned=3, allowed=2, limit="50%")
        for guarded in (Guarded.START, Guarded.UPDATE, Guarded.PAUSE)
    )
    assert check_guards(changes, guards, managed=6) == ()
    assert still_over(over, {}) == over
    assert still_over(over, {Guarded.START: 3, Guarded.UPDATE: 2, Guarded.PAUSE: 4}) == (over[1],)


def test_what_has_to_wait_is_not_counted() -> None:
    """Where some changes of a plan wait, a guard holds for those that go; the number to be allowed is theirs."""
    changes = [replace(BARE, id=PortfolioId(f"p{number}"), verb=Verb.RESUME) for number in range(4)]
    over = check_guards(changes, Guards(max_resume=Limit("1", count=1)), managed=4)
    assert still_over(over, {}, changes[:1]) == still_over(over, {}, []) == ()
    (left,) = still_over(over, {}, changes[:3])
    assert (left.planned, left.flag) == (3, "--allow resume=3")
    assert still_over(over, {Guarded.RESUME: 3}, changes[:3]) == ()
    incomplete = (Excess(guarded=Guarded.INCOMPLETE, planned=0, allowed=0, limit="0"),)
    assert still_over(incomplete, {}, changes[:1]) == incomplete


def test_one_that_nobody_allowed() -> None:
    """Where nothing may go, one change is over already, until one is allowed."""
    over = (Excess(guarded=Guarded.START, planned=1, allowed=0, limit="0"),)
    assert still_over(over, {Guarded.PAUSE: 1}) == over
    assert still_over(over, {Guarded.START: 1}) == ()


@pytest.mark.parametrize(
    ("excess", "text"),
    [
        (
            Excess(guarded=Guarded.START, planned=6, allowed=5, limit="10%, at least 5"),
            (
                "6 to start, but guards.max_start is 10%, at least 5 = 5; "
                "after reading the plan, allow it with --allow start=6"
            ),
        ),
        (
            Excess(guarded=Guarded.UPDATE, planned=3, allowed=2, limit="2"),
            "3 to update, but guards.max_update is 2; after reading the plan, allow it with --allow update=3",
        ),
    ],
)
def test_sentence(excess: Excess, text: str) -> None:
    """A share is told with the number it comes to, a number alone; the flag names what is planned."""
    assert str(excess) == text


def test_defaults_in_words() -> None:
    """The limits in force where nothing is declared, as they stand in messages."""
    guards = Guards()
    assert guards == Guards(
        max_start=Limit("10%, at least 5", percent=10, floor=5),
        max_resume=Limit("10%, at least 5", percent=10, floor=5),
        max_pause=None,
        max_update=Limit("50%, at least 10", percent=50, floor=10),
    )
