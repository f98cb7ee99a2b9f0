"""Payloads to values: every documented shape, the undocumented ones we hope for, and hostile ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.envelope import success_of
from reconciler.api.v1 import confirmation_of, live_of
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.model import Live, PortfolioId, Status
from reconciler.core.ports import Confirmation
from reconciler.core.text import harmless
from tests.support import examples

if TYPE_CHECKING:
    from collections.abc import Callable

ID = PortfolioId("port_abc123")
H = 3_600_000

DOCUMENTED = json.loads("""
{ "portfolioId": "port_abc123", "status": "active", "hasAutomation": true, "message": "…",
  "rebalanceScheduleId": "sched_abc123",
  "details": {
    "totalExecutions": 5, "paused": false, "pauseReason": null,
    "recentActions": [ { "workflowId": "rebal_def456", "takenAt": "2023-05-21T13:30:00.000Z",
                         "scheduledAt": "2023-05-21T13:30:00.000Z" } ],
    "nextScheduledExecution": "2023-05-21T19:30:00.000Z" } }
""")


def live(data: object) -> Live:
    return live_of(ID, {"success": True, "data": data})


def test_the_documented_status_is_read_whole() -> None:
    """Every documented field arrives, and the schedule, which is not among them, stays unread."""
    assert live(DOCUMENTED) == Live(
        id=ID,
        status=Status.ACTIVE,
        word="active",
        schedule_id="sched_abc123",
        next_run_ms=1_684_697_400_000,
        scheduled_ms=(1_684_675_800_000,),
        runs=5,
    )


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"status": "active"}, Status.ACTIVE, "active"),
        ({"status": "active", "details": None}, Status.ACTIVE, "active"),
        ({"status": "active", "details": {"paused": False}}, Status.ACTIVE, "active"),
        ({"status": "paused"}, Status.PAUSED, "paused"),
        ({"status": "paused", "details": {"paused": True}}, Status.PAUSED, "paused"),
        ({"status": "inactive", "hasAutomation": False}, Status.INACTIVE, "inactive"),
        ({"status": "inactive", "rebalanceScheduleId": None}, Status.INACTIVE, "inactive"),
        ({"status": "archived", "details": {"paused": True}}, Status.ARCHIVED, "archived"),
        ({"status": "error"}, Status.ERROR, "error"),
        # Documented words are compared without case, nothing else is guessed, and no word of ours can be forged.
        ({"status": "Active"}, Status.ACTIVE, "active"),
        ({"status": "PAUSED"}, Status.PAUSED, "paused"),
        ({"status": "Migrating"}, Status.UNKNOWN, "Migrating"),
        ({"status": "act\u0131ve"}, Status.UNKNOWN, "act\u0131ve"),
        ({"status": " active"}, Status.UNKNOWN, " active"),
        ({"status": ""}, Status.UNKNOWN, ""),
        ({"status": "unknown"}, Status.UNKNOWN, "unknown"),
        ({"status": "not_found"}, Status.UNKNOWN, "not_found"),
        ({"status": "unreadable"}, Status.UNKNOWN, "unreadable"),
        ({"status": "started"}, Status.UNKNOWN, "started"),
        ({"status": "a\x1b[2J\ud800"}, Status.UNKNOWN, "a\\u{1b}[2J\\u{d800}"),
        # Wrong types count as missing.
        ({"status": "active", "hasAutomation": "false"}, Status.ACTIVE, "active"),
        ({"status": "active", "hasAutomation": 0}, Status.ACTIVE, "active"),
        ({"status": "active", "details": {"paused": "true"}}, Status.ACTIVE, "active"),
        ({"status": "active", "details": ["paused"]}, Status.ACTIVE, "active"),
    ],
)
def test_status_words(fields: dict[str, object], status: Status, word: str) -> None:
    """Each documented word is itself; all that is new or contradicts itself is UNKNOWN and keeps its spelling."""
    result = live(fields)
    assert (result.status, result.word) == (status, word)


NEITHER = object()
"""Stands for a field that the answer does not have."""
NO_AUTOMATION = "although hasAutomation is false"


def contradiction(word: str, has_automation: object, paused: object) -> str | None:
    """Say what contradicts the word, as a reader of API facts §3.1 and §7a would; ``None`` for nothing."""
    match word, has_automation, paused:
        case (("active" | "paused"), False, _):
            return NO_AUTOMATION
        case "active", _, True:
            return "although details.paused is true"
        case "paused", _, False:
            return "although details.paused is false"
        case _:
            return None


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("paused", [True, False, None, "true", NEITHER])
@pytest.mark.parametrize("has_automation", [True, False, None, 0, NEITHER])
@pytest.mark.parametrize("word", ["active", "paused", "inactive", "archived", "error", "migrating"])
def test_word_automation_and_paused(
    word: str, has_automation: object, paused: object, spell: Callable[[str], str]
) -> None:
    """Word by hasAutomation by details.paused: what contradicts itself is UNKNOWN, and never read as inactive."""
    fields: dict[str, object] = {"status": spell(word)}
    if has_automation is not NEITHER:
        fields["hasAutomation"] = has_automation
    if paused is not NEITHER:
        fields["details"] = {"paused": paused}
    result = live(fields)
    against = contradiction(word, has_automation, paused)
    if word == "migrating":
        assert (result.status, result.word) == (Status.UNKNOWN, spell(word))
    elif against is None:
        assert (result.status, result.word) == (Status(word), word)
    else:
        assert (result.status, result.word) == (Status.UNKNOWN, f"{word}, {against}")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"data": None},
        {"data": [DOCUMENTED]},
        {"data": "active"},
        {"data": {}},
        {"data": {"status": None}},
        {"data": {"status": True}},
        {"data": {"status": ["active"]}},
        {"data": {**DOCUMENTED, "portfolioId": "port_other"}},
        {"data": {**DOCUMENTED, "portfolioId": "PORT_ABC123"}},
        {"data": {**DOCUMENTED, "portfolioId": 7}},
        {"data": {**DOCUMENTED, "portfolioId": ""}},
    ],
)
def test_what_a_decision_hangs_on_must_be_there(payload: dict[str, object]) -> None:
    """No status word, or another portfolio's answer: malformed, never a guess."""
    with pytest.raises(ApiError) as caught:
        live_of(ID, payload)
    assert caught.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    ("fields", "schedule"),
    [
        ({"interval": 6 * H}, (6 * H, None)),
        ({"interval": 2.16e7}, (6 * H, None)),
        ({"intervalMs": 6 * H}, (6 * H, None)),
        ({"every": 6 * H, "offset": 5}, (6 * H, 5)),
        ({"interval": {"every": 6 * H, "offset": 0, "humanReadable": "6 hours"}}, (6 * H, 0)),
        ({"intervalMs": 6 * H, "offsetMs": 7}, (6 * H, 7)),
        ({"details": {"intervalMs": 6 * H, "offset": 7}}, (6 * H, 7)),
        ({"details": {"interval": {"every": 6 * H, "offset": 7}}}, (6 * H, 7)),
        ({"schedule": {"interval": 6 * H, "offset": 7}}, (6 * H, 7)),
        ({"schedule": {"interval": {"every": 6 * H, "offset": 7}}}, (6 * H, 7)),
        ({"schedule": {"intervals": [{"every": 6 * H, "offset": 7}]}}, (6 * H, 7)),
        ({"details": {"scheduleConfiguration": {"interval": {"every": 6 * H}}}}, (6 * H, None)),
        ({"scheduleConfiguration": {"offset": 7}, "intervalMs": 6 * H}, (6 * H, 7)),
        ({"intervals": [{"every": 6 * H}]}, (6 * H, None)),
        # Two places that agree are one; that disagree, none.
        ({"intervalMs": 6 * H, "details": {"interval": {"every": 6 * H, "offset": 1}}}, (6 * H, 1)),
        ({"intervalMs": 6 * H, "details": {"interval": {"every": 7 * H, "offset": 1}}}, (None, 1)),
        ({"schedule": {"every": 6 * H, "offset": 1}, "offsetMs": 2}, (6 * H, None)),
        ({"intervals": [{"every": 6 * H}, {"every": 7 * H}]}, (None, None)),
        # Not plausible: seconds, text, negative, beyond a year, fractions, a page's offset.
        ({"interval": 21_600}, (None, None)),
        ({"interval": "6h"}, (None, None)),
        ({"interval": True}, (None, None)),
        ({"interval": -6 * H}, (None, None)),
        ({"interval": 366 * 24 * H}, (None, None)),
        ({"interval": 6 * H + 0.5}, (None, None)),
        ({"interval": 10**400}, (None, None)),
        ({"interval": 6 * H, "schedule": {"every": 5}}, (None, None)),
        ({"offset": 0}, (None, None)),
        ({"schedule": {"every": 6 * H, "offset": -1}}, (6 * H, None)),
        ({"schedule": {"every": 6 * H, "offset": 6 * H}}, (6 * H, None)),
        ({"schedule": None, "interval": [], "intervals": {}}, (None, None)),
    ],
)
def test_a_schedule_is_read_wherever_it_may_stand(
    fields: dict[str, object], schedule: tuple[int | None, int | None]
) -> None:
    """Interval and offset are taken from any likely place; what is doubtful is not read at all."""
    result = live({"status": "active", **fields})
    assert (result.interval_ms, result.offset_ms) == schedule


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-05-21T19:30:00.000Z", 1_684_697_400_000),
        ("2023-05-21T19:30:00.001Z", 1_684_697_400_001),
        ("2023-05-21T21:30:00+02:00", 1_684_697_400_000),
        ("2023-05-21T19:30:00", None),
        ("2023-05-21", None),
        ("yesterday", None),
        ("", None),
        ("\ud800", None),
        (1_684_697_400, None),
        (None, None),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("9999-12-31T23:59:59-23:59", None),
        ("1969-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_times(text: object, moment: int | None) -> None:
    """ISO times with a zone become epoch milliseconds; a time without one is no moment."""
    assert live({"status": "active", "details": {"nextScheduledExecution": text}}).next_run_ms == moment


def test_runs_come_newest_first_whatever_their_order() -> None:
    """Scheduled times are sorted; entries of a wrong shape are passed over."""
    actions = [
        {"scheduledAt": "1970-01-01T00:00:01Z"},
        None,
        {"scheduledAt": 5},
        {"takenAt": "1970-01-01T00:00:09Z"},
        {"scheduledAt": "1970-01-01T00:00:03Z"},
    ]
    assert live({"status": "active", "details": {"recentActions": actions}}).scheduled_ms == (3000, 1000)


def test_server_text_is_harmless_and_cut() -> None:
    """Pause reason and ids can't steer a terminal, whatever they hold."""
    result = live(
        {"status": "paused", "scheduleId": "x" * 999, "details": {"pauseReason": "\x1b]0;\u202e" + "y" * 999}}
    )
    assert result.pause_reason is not None
    assert result.pause_reason.isprintable()
    assert result.pause_reason.startswith("\\u{1b}]0;\\u{202e}")
    assert result.schedule_id is not None
    assert len(result.schedule_id) == 128


@pytest.mark.parametrize(
    ("data", "confirmation"),
    [
        (
            {"portfolioId": ID, "rebalanceScheduleId": "s1", "status": "started", "message": "…",
             "runRebalanceImmediately": True, "isAutomated": True, "intervalMs": 6 * H},
            Confirmation(interval_ms=6 * H, schedule_id="s1"),
        ),
        (
            {"portfolioId": ID, "scheduleId": "s1", "status": "paused", "paused": True,
             "pausedAt": "2023-05-21T13:45:12.345Z", "reason": "Paused via API: x"},
            Confirmation(schedule_id="s1"),
        ),
        (
            {"portfolioId": ID, "scheduleId": "s1", "previousInterval": {"every": 6 * H, "offset": 0},
             "newInterval": {"every": 12 * H, "offset": 0, "humanReadable": "12 hours"},
             "nextScheduledRun": "2023-05-22T01:30:00.000Z"},
            Confirmation(
                interval_ms=12 * H, offset_ms=0, schedule_id="s1",
                previous_interval_ms=6 * H,
            ),
        ),
        ({"interval": {"every": 6 * H, "offset": 1}}, Confirmation(interval_ms=6 * H, offset_ms=1)),
        ({"interval": 6 * H}, Confirmation(interval_ms=6 * H)),
        ({"previousInterval": None, "newInterval": "12h"}, Confirmation()),
        ({"status": 7, "scheduleId": 8, "intervalMs": "6"}, Confirmation()),
        ({}, Confirmation()),
        (None, Confirmation()),
        ([], Confirmation()),
    ],
)  # fmt: skip
def test_confirmations(data: object, confirmation: Confirmation) -> None:
    """Start, pause and update confirm what they carry; a resume may carry anything."""
    assert confirmation_of(ID, {"success": True, "data": data}) == confirmation


def test_a_confirmation_about_another_portfolio_is_none() -> None:
    """What was done then is unknown, and the error says that it may have taken effect."""
    with pytest.raises(ApiError) as caught:
        confirmation_of(ID, {"data": {"portfolioId": "x\x07"}})
    assert caught.value.may_have_taken_effect
    assert "\\u{7}" in str(caught.value)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from([ID, "active", "paused"])
)
KEYS = st.sampled_from(
    [*DOCUMENTED, *DOCUMENTED["details"], "interval", "intervals", "every", "offset", "offsetMs", "intervalMs",
     "schedule", "newInterval", "previousInterval", "nextScheduledRun", "scheduledAt", "data", "error", "success",
     "code", "message", "retryAfter", "requestId"]
)  # fmt: skip
HOSTILE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=20
)


def outcome(read: Any) -> object:
    try:
        return read()
    except ApiError as error:
        return str(error)


def is_harmless(shown: object) -> bool:
    return isinstance(shown, str) and harmless(shown, longest=10_000) == shown


@pytest.mark.slow
@settings(max_examples=examples(300), deadline=None)
@given(st.dictionaries(KEYS, HOSTILE, max_size=8), st.sampled_from([200, 201, 204, 301, 400, 401, 404, 429, 500, 999]))
def test_any_json_is_a_value_or_our_error(data: dict[str, object], status: int) -> None:
    """No JSON of any shape leads to anything but a value or an ApiError that can be shown as it is."""
    for payload in (data, {"success": True, "data": data}, {"success": False, "error": data}):
        for read in (live_of, confirmation_of):
            outcome(lambda read=read, payload=payload: read(ID, payload))
        body = json.dumps(payload).encode()
        shown = outcome(lambda body=body: success_of(status, [], body, operation="x", now_ms=0))
        assert isinstance(shown, dict) or is_harmless(shown)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=200), st.integers(100, 999), st.binary(max_size=30))
def test_any_bytes_are_a_value_or_our_error(body: bytes, status: int, header: bytes) -> None:
    """No body and no header leads to anything but a value or an ApiError that can be shown as it is."""
    headers = [(name, header) for name in (b"retry-after", b"location", b"x-request-id")]
    shown = outcome(lambda: success_of(status, headers, body, operation="x", now_ms=0))
    assert isinstance(shown, dict) or is_harmless(shown)
