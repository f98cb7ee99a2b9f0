"""What a plan says of v2 portfolios and live files, to the letter: pauses, cadences, and how old reads may be."""

from __future__ import annotations

from contextlib import nullcontext
from hashlib import sha256

import pytest
from msgspec.structs import replace

from reconciler.core.change import Blocked, Change
from reconciler.core.decide import decide
from reconciler.core.diff import facts
from reconciler.core.errors import GitHubError, StalePlan
from reconciler.core.evidence import SLACK_MS
from reconciler.core.model import ApiVersion, Desired, Live, PortfolioId, RunState, Status, Verb
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint, format_plan, parse_plan, plan_document, require_applicable
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from tests.core.plans import BARE, RICH
from tests.core.test_plan_strategies_words import whole_plan
from tests.support import BASE_URL, HOUR_MS, NOON_MS

ID = PortfolioId("aaa")
ACTIVE, PAUSED = RunState.ACTIVE, RunState.PAUSED
V1, V2 = ApiVersion.V1, ApiVersion.V2


@pytest.mark.parametrize(
    ("api", "state", "status", "verb", "pause_id", "cadence_ms"),
    [
        (V2, ACTIVE, Status.PAUSED, Verb.RESUME, "due noon", HOUR_MS),
        (V2, PAUSED, Status.ACTIVE, Verb.PAUSE, None, HOUR_MS),
        (V1, ACTIVE, Status.PAUSED, Verb.RESUME, None, None),
    ],
)
def test_what_a_change_keeps_of_the_live_side(
    api: ApiVersion, state: RunState, status: Status, verb: Verb, pause_id: str | None, cadence_ms: int | None
) -> None:
    """A resume on v2 is pinned to the id of the pause, and v2 shows the cadence of the strategy."""
    desired = Desired(id=ID, state=state, api=api, hold_override=True)
    live = Live(id=ID, status=status, interval_ms=HOUR_MS, schedule_id="due noon", pause_reason="Freeze")
    change = decide(desired, live if status is Status.PAUSED else replace(live, pause_reason=None), None)
    assert isinstance(change, Change)
    assert (change.verb, change.pause_id, change.cadence_ms) == (verb, pause_id, cadence_ms)
    assert facts(change)["pause_id"] == pause_id


def test_a_portfolio_without_a_schedule_is_blocked_in_words() -> None:
    """Nothing can be done about it here."""
    found = decide(Desired(id=ID, state=ACTIVE, api=V2), Live(id=ID, status=Status.NO_SCHEDULE), None)
    assert isinstance(found, Blocked)
    assert found.detail == "Glider keeps no schedule for it, so it can't be resumed; look at its strategy there"


def test_the_id_of_a_pause_is_saved_and_fingerprinted() -> None:
    """Another pause is another plan."""
    of_v2 = replace(RICH, changes=(replace(BARE, api=V2, pause_id="due noon"),))
    assert parse_plan(format_plan(of_v2)) == of_v2
    assert plan_document(of_v2)["changes"][0]["pause_id"] == "due noon"
    other = replace(of_v2, changes=(replace(BARE, api=V2, pause_id="due one"),))
    none = replace(of_v2, changes=(replace(BARE, api=V2),))
    assert len({fingerprint(plan) for plan in (of_v2, other, none)}) == 3
    alone = replace(none, over=())
    states = ",".join(
        f'{{"state":"{state}","interval_ms":null,"offset_ms":null,"cadence":null}}' for state in ("active", "paused")
    )
    meaning = f'[[["{BASE_URL}","Acme EU","b-bare","v2","pause",{states},["","",""],[false,false,""],false]],[]]'
    assert fingerprint(alone) == sha256(meaning.encode()).hexdigest()


def test_how_old_the_reads_of_a_plan_may_be() -> None:
    """An hour for a plan of live files, any age for another one, unless somebody says; and no time that is to come."""
    old = replace(RICH, as_of_ms=NOON_MS)
    assert plan_document(old)["as_of"] == "2026-11-22T12:00:00.000Z"
    assert parse_plan(format_plan(old)).as_of_ms == NOON_MS
    assert build_plan(Plan(base_url=BASE_URL, created_ms=0, as_of_ms=NOON_MS), {}, {}, Memory()).as_of_ms == NOON_MS
    for plan, now_ms, most_ms, fresh in (
        (RICH, 10**15, None, True),
        (RICH, RICH.created_ms + HOUR_MS, HOUR_MS, True),
        (RICH, RICH.created_ms + HOUR_MS + 1, HOUR_MS, False),
        (old, NOON_MS + HOUR_MS, None, True),
        (old, NOON_MS + HOUR_MS + 1, None, False),
        (old, NOON_MS + 2 * HOUR_MS, 2 * HOUR_MS, True),
        (old, NOON_MS - SLACK_MS, None, True),
        (old, NOON_MS - SLACK_MS - 1, None, False),
    ):
        with nullcontext() if fresh else pytest.raises(StalePlan):
            require_applicable(plan, now_ms=now_ms, max_age_ms=most_ms)
    for now_ms, why in (
        (NOON_MS + 3 * HOUR_MS, "3h ago, and at most 1h is allowed"),
        (NOON_MS - HOUR_MS, "and at the service it is 2026-11-22T11:00:00.000Z"),
    ):
        with pytest.raises(StalePlan) as refused:
            require_applicable(old, now_ms=now_ms, max_age_ms=None)
        assert refused.value.summary == (
            f"the plan can't be applied any more: its reads are of 2026-11-22T12:00:00.000Z, {why}"
        )
        assert refused.value.detail == (
            "Nothing was written. Read and plan again, or allow older reads with --max-age."
        )


def test_blocked_strategies_are_among_the_errors() -> None:
    """By their address, among the portfolios in the order of ids."""
    plan = replace(whole_plan(), blocked=(*RICH.blocked[1:], *whole_plan().blocked))
    errors = plan_document(plan)["errors"]
    assert errors[0] == {"id": "f-blocked", "reason": "archived", "problem": "it is archived"}
    assert errors[1] == {
        "id": "strategies/c",
        "reason": "read_failed",
        "problem": "reading failed: the service limits the rate (HTTP 429)",
    }
    assert [error["id"] for error in errors] == ["f-blocked", "strategies/c", "strategies/d"]


def test_a_failed_post_tells_what_may_have_happened() -> None:
    """Nothing did unless it is said, and without an answer there is no status."""
    plain, told = GitHubError("no"), GitHubError("no", "Why.", status=502, may_have_taken_effect=True)
    assert (plain.summary, plain.detail, plain.status, plain.may_have_taken_effect) == ("no", "", None, False)
    assert (told.summary, told.detail, told.status, told.may_have_taken_effect) == ("no", "Why.", 502, True)
