"""A plan as JSON: the whole document, and the fingerprint that binds what it means."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler import TOOL
from reconciler.core.change import ChangeReason
from reconciler.core.codec import from_iso, iso
from reconciler.core.errors import ExitReason
from reconciler.core.model import ApiVersion, Status, Verb
from reconciler.core.plan import Excess, Guarded
from reconciler.core.planfile import fingerprint, format_plan, plan_document
from tests.core.plans import BARE, DOCUMENT, FINGERPRINT, FULL, RICH
from tests.support import BASE_URL, HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from reconciler.core.plan import Plan


def test_document() -> None:
    """The document of a plan that says everything, key for key and in this order."""
    document = json.loads(format_plan(RICH, ExitReason.CHANGES))
    assert document == DOCUMENT
    assert list(document) == list(DOCUMENT)


def test_text() -> None:
    """The text is the document after its format, indented by two, letters as they are, and ends in a line break."""
    document = {"format_version": "3.1", "tool": TOOL, "exit_reason": "changes", **plan_document(RICH)}
    assert format_plan(RICH, ExitReason.CHANGES) == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert "Größe" in format_plan(RICH)
    assert json.loads(format_plan(RICH))["exit_reason"] == "ok"


def test_the_fingerprint_never_changes() -> None:
    """A plan that was saved by an earlier program still matches its own fingerprint."""
    assert fingerprint(RICH) == FINGERPRINT


def test_what_the_fingerprint_is_of() -> None:
    """It is the SHA-256 of compact ASCII JSON: the sorted changes, and the guards that the plan is over."""
    full: list[Any] = [
        BASE_URL,
        "Acme EU",
        "a-full_1",
        "v1",
        "resume",
        {"state": "paused", "interval_ms": 24 * HOUR_MS, "offset_ms": HOUR_MS, "cadence": None},
        {"state": "active", "interval_ms": 12 * HOUR_MS, "offset_ms": 2 * HOUR_MS, "cadence": None},
        ["Paused from the app", "", "00002a"],
        [True, True, "Grüße"],
        True,
    ]
    bare: list[Any] = [
        BASE_URL,
        "Acme EU",
        "b-bare",
        "v1",
        "pause",
        {"state": "active", "interval_ms": None, "offset_ms": None, "cadence": None},
        {"state": "paused", "interval_ms": None, "offset_ms": None, "cadence": None},
        ["", "", ""],
        [False, False, ""],
        False,
    ]
    plan = replace(RICH, changes=(BARE, replace(FULL, note="Grüße")))
    text = json.dumps([[full, bare], [["resume", 6, 5]]], separators=(",", ":"))
    assert fingerprint(plan) == sha256(text.encode()).hexdigest()


MEANING: dict[str, Plan] = {
    "another account": replace(RICH, account="Acme"),
    "no account": replace(RICH, account=None),
    "another service": replace(RICH, base_url="https://elsewhere"),
    "another portfolio": replace(RICH, changes=(replace(FULL, id=BARE.id), BARE)),
    "one change fewer": replace(RICH, changes=(FULL,)),
    "another verb": replace(RICH, changes=(replace(FULL, verb=Verb.UPDATE), BARE)),
    "another state before": replace(
        RICH, changes=(FULL, replace(BARE, before=replace(BARE.before, state=Status.ERROR)))
    ),
    "another interval after": replace(
        RICH, changes=(FULL, replace(BARE, after=replace(BARE.after, interval_ms=HOUR_MS)))
    ),
    "another offset after": replace(RICH, changes=(FULL, replace(BARE, after=replace(BARE.after, offset_ms=1)))),
    "another pause": replace(RICH, changes=(replace(FULL, pause_reason="Audit"), BARE)),
    "another last write": replace(RICH, changes=(replace(FULL, since="00002b"), BARE)),
    "no last write": replace(RICH, changes=(replace(FULL, since=None), BARE)),
    "a last write where there was none": replace(RICH, changes=(FULL, replace(BARE, since="00002a"))),
    "another API": replace(RICH, changes=(FULL, replace(BARE, api=ApiVersion.V2))),
    "another pause of v2": replace(RICH, changes=(replace(FULL, pause_id="due noon"), BARE)),
    "no schedule sent": replace(RICH, changes=(replace(FULL, writes_schedule=False), BARE)),
    "no run at once": replace(RICH, changes=(replace(FULL, run_on_start=False), BARE)),
    "another note": replace(RICH, changes=(replace(FULL, note=None), BARE)),
    "no hold overridden": replace(RICH, changes=(replace(FULL, reason=ChangeReason.PAUSED_BY_US), BARE)),
    "over no guard": replace(RICH, over=()),
    "over another guard": replace(RICH, over=(Excess(guarded=Guarded.START, planned=6, allowed=5, limit="10%"),)),
    "another number over a guard": replace(RICH, over=(replace(RICH.over[0], planned=7),)),
    "another number allowed": replace(RICH, over=(replace(RICH.over[0], allowed=4),)),
}


@pytest.mark.parametrize("plan", MEANING.values(), ids=MEANING)
def test_what_the_fingerprint_binds(plan: Plan) -> None:
    """Whatever changes what an apply would do, and to what, changes the fingerprint."""
    assert fingerprint(plan) != FINGERPRINT


WORDING: dict[str, Plan] = {
    "made later": replace(RICH, created_ms=NOON_MS + HOUR_MS),
    "other files": replace(RICH, config_digest="d2", config_files=()),
    "the other way round": replace(RICH, changes=(BARE, FULL)),
    "another name, place, cause and reason": replace(
        RICH,
        changes=(
            replace(FULL, name=None, source=None, cause=None),
            replace(BARE, reason=ChangeReason.NOT_RUNNING),
        ),
    ),
    "nothing held or blocked": replace(RICH, held=(), blocked=(), unmanaged=(), no_op=0, warnings=()),
    "the limit in other words": replace(RICH, over=(replace(RICH.over[0], limit="5"),)),
}


@pytest.mark.parametrize("plan", WORDING.values(), ids=WORDING)
def test_what_the_fingerprint_leaves_free(plan: Plan) -> None:
    """What an apply would do all the same has the same fingerprint."""
    assert fingerprint(plan) == FINGERPRINT


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (NOON_MS, "2026-11-22T12:00:00.000Z"),
        (NOON_MS + 1, "2026-11-22T12:00:00.001Z"),
        (NOON_MS + 999, "2026-11-22T12:00:00.999Z"),
        (NOON_MS + 1_000, "2026-11-22T12:00:01.000Z"),
        (1_001, "1970-01-01T00:00:01.001Z"),
    ],
)
def test_times(ms: int, text: str) -> None:
    """A time is written in UTC with milliseconds, and read back exactly."""
    assert iso(ms) == text
    assert from_iso(text) == ms


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process can't be set here")
def test_the_machines_zone_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the program runs, times are in UTC."""
    with monkeypatch.context() as far:
        far.setenv("TZ", "XYZ-05:30")
        time.tzset()
        assert iso(NOON_MS) == "2026-11-22T12:00:00.000Z"
        assert from_iso("2026-11-22T12:00:00.000Z") == NOON_MS
    time.tzset()


@pytest.mark.parametrize(
    "text", ["2026-11-22T13:00:00.500+01:00", "2026-11-22T12:00:00Z", "2026-11-22T12:00:00.0004Z", "2026-11-22", ""]
)
def test_a_time_in_another_spelling(text: str) -> None:
    """Only what is written here is read: any other spelling would be another text when it is written again."""
    with pytest.raises(ValueError, match=r"^(not a time as it is written here|Invalid isoformat string: .*)$"):
        from_iso(text)
