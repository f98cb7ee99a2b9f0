"""Holds: whose pause it is, and that doubt holds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.evidence import (
    MARK,
    due_ms_of,
    has_token,
    is_cut,
    is_marked,
    is_our_due,
    pause_id,
    paused_by_us,
    unmarked,
    with_mark,
    without_mark,
)
from reconciler.core.model import ApiVersion, Live, PortfolioId, Record, RunState, Status
from tests.support import HOUR_MS, NOON_MS

TOKEN = "7f3a9c"


def live(reason: str | None, *ran: int, schedule: str | None = "s1") -> Live:
    return Live(
        id=PortfolioId("a"),
        status=Status.PAUSED,
        pause_reason=reason,
        scheduled_ms=tuple(NOON_MS + r for r in ran),
        schedule_id=schedule,
    )


def record(state: RunState = RunState.PAUSED, *, seen: bool = False, read_back: str | None = None) -> Record:
    return Record(
        state=state,
        interval_ms=None,
        offset_ms=None,
        schedule_id="s1",
        confirmed_ms=NOON_MS,
        marked=seen,
        pause_reason=read_back,
    )


SUFFIXED = f"Freeze [glider-reconciler {TOKEN}] (by key 12)"

PAUSES: dict[str, tuple[Live, Record | None, bool]] = {
    "marked": (live(f"Paused via API: {with_mark('Freeze', TOKEN)}"), None, True),
    "marked by an older version": (live(f"Paused via API: {MARK}  "), None, True),
    "marked by another machine, another pause on record": (live(with_mark("x", "00002a")), record(read_back="y"), True),
    "mark not at the end": (live(f"{MARK} but do not resume"), record(), False),
    "a mark that somebody wrote behind": (live(SUFFIXED), record(seen=True), False),
    "as the service made it of our own pause": (live(SUFFIXED), record(read_back=SUFFIXED), True),
    "nearly as the service made it": (live(f"{SUFFIXED}!"), record(read_back=SUFFIXED), False),
    "as it was read back, and we resumed it since": (
        live(SUFFIXED),
        record(RunState.ACTIVE, read_back=SUFFIXED),
        False,
    ),
    "as it was read back, of another schedule": (live(SUFFIXED, schedule="s2"), record(read_back=SUFFIXED), False),
    "another reason beats the journal": (live("Paused from the app"), record(), False),
    "no reason, no record": (live(None), None, False),
    "no reason, our pause on record": (live(None), record(), True),
    "empty reason, our pause on record": (live(""), record(), True),
    "ran before our pause": (live(None, -5), record(), True),
    "ran in the very moment": (live(None, 0), record(), True),
    "ran since: somebody resumed it in between": (live(None, 5), record(), False),
    "ran since, told last": (live(None, -5, 5), record(), False),
    "ran since, told first": (live(None, 5, -5), record(), False),
    "no reason, our resume on record": (live(None), record(RunState.ACTIVE), False),
    "our mark was there once and is gone": (live(None), record(seen=True), False),
    "our changed mark was there once and is gone": (live(None), record(read_back=SUFFIXED), False),
    "another schedule": (live(None, schedule="s2"), record(), False),
}


@pytest.mark.parametrize(("now", "then", "ours"), PAUSES.values(), ids=PAUSES)
def test_paused_by_us(now: Live, then: Record | None, *, ours: bool) -> None:
    """A pause is ours only where the mark or, without any reason, the journal proves it."""
    assert paused_by_us(now, then, ApiVersion.V1) is ours


@pytest.mark.parametrize(
    ("now", "then", "api", "ours"),
    [
        (pause_id("then"), pause_id("then"), ApiVersion.V2, True),
        (pause_id("later"), pause_id("then"), ApiVersion.V2, False),
        (None, pause_id("then"), ApiVersion.V2, False),
        (pause_id("then"), None, ApiVersion.V2, False),
        (None, None, ApiVersion.V2, False),
        (None, "s1", ApiVersion.V2, False),
        (None, pause_id("then"), ApiVersion.V1, False),
        (None, "s1", ApiVersion.V1, True),
        (None, None, ApiVersion.V1, True),
    ],
    ids=[
        "the very pause",
        "a later pause",
        "Glider does not say when it was due",
        "it did not say so when we paused",
        "it never says so",
        "our pause on v1, and v2 tells nothing",
        "our pause on v2, and v1 tells nothing",
        "v1 leaves out the id of the schedule",
        "v1 never names one",
    ],
)
def test_a_pause_without_a_reason(now: str | None, then: str | None, api: ApiVersion, *, ours: bool) -> None:
    """On v2 only a record of this very pause proves it ours; what was paused through one API says nothing of the
    other."""
    assert paused_by_us(live(None, schedule=now), replace(record(), schedule_id=then), api) is ours


@pytest.mark.parametrize("imported", ["", TOKEN])
@pytest.mark.parametrize(
    ("now", "then", "api", "ours"),
    [
        (pause_id("then"), pause_id("then"), ApiVersion.V2, True),
        (pause_id("later"), pause_id("then"), ApiVersion.V2, False),
        (None, pause_id("then"), ApiVersion.V2, False),
        ("s1", "s1", ApiVersion.V1, True),
        ("s2", "s1", ApiVersion.V1, False),
        (None, "s1", ApiVersion.V1, False),
        (None, None, ApiVersion.V1, False),
        ("s1", None, ApiVersion.V1, False),
    ],
)
def test_an_imported_record_of_a_pause_without_a_reason(
    now: str | None, then: str | None, api: ApiVersion, imported: str, *, ours: bool
) -> None:
    """It counts only where live shows the very due time or schedule id; a record of our own needs no id on v1."""
    found = replace(record(), schedule_id=then, imported=imported)
    assert paused_by_us(live(None, schedule=now), found, api) is ours


@pytest.mark.parametrize(
    ("declared", "sent"),
    [("Audit", "Audit"), (None, "Declared in Git"), ("", "Declared in Git")],
)
def test_marked(declared: str | None, sent: str) -> None:
    """A pause is sent with its declared reason, or a stock phrase, and the mark with its token; a resume without."""
    assert with_mark(declared, TOKEN) == f"{sent} [glider-reconciler 7f3a9c]"
    assert is_marked(with_mark(declared, TOKEN))
    assert unmarked(declared) == sent
    assert not is_marked(unmarked(declared))


@pytest.mark.parametrize(
    "reason",
    [
        *(None, "", "Audit", "[glider-reconciler] no", "[glider-reconciler", "[glider-reconciler 7f3a9]"),
        *("[glider-reconciler 7f3a9c0]", "[glider-reconciler 7F3A9C]", "[glider-reconciler  7f3a9c]", "[glider]"),
        *("[glider-reconciler halt:a]", "[glider-reconciler 7f3a9c halt:]", "[glider-reconciler 7f3a9c halt:a b]"),
        "&#91;glider-reconciler 7f3a9c&#93;",
    ],
)
def test_not_marked(reason: str | None) -> None:
    """Without the whole mark at its end a reason is somebody else's."""
    assert not is_marked(reason)


@pytest.mark.parametrize(
    ("reason", "token", "found"),
    [
        (None, TOKEN, False),
        ("", TOKEN, False),
        ("Freeze [glider-reconciler 7f3a9c]", TOKEN, True),
        (SUFFIXED, TOKEN, True),
        ("&#91;glider-reconciler 7f3a9c&#93;", TOKEN, True),
        ("Freeze [glider-reconciler 7f3a9c", TOKEN, True),
        ("Freeze [glider-reconciler 7f3a9", TOKEN, False),
        ("Freeze [glider-reconciler 7f3a9d]", TOKEN, False),
        ("tx 0x7f3a9c00", TOKEN, False),
        ("tx 007f3a9c", TOKEN, False),
        ("tx 007f3a9c, [glider-reconciler 7f3a9c]", TOKEN, True),
        ("7f3a9c", TOKEN, True),
        (None, None, False),
        ("Freeze", None, False),
        (MARK, None, False),
        ("Freeze [glider-reconciler 00002a]", None, True),
        ("Freeze [glider-reconciler 00002a] later", None, False),
    ],
)
def test_has_token(reason: str | None, token: str | None, *, found: bool) -> None:
    """The token of one write is found however its mark was changed; any token only in a whole mark at the end."""
    assert has_token(reason, token) is found


@pytest.mark.parametrize(
    ("reason", "cut"),
    [
        (None, False),
        ("", False),
        ("Paused via API: Audit [glider-reconciler 7f3a9c]", False),
        ("Paused via API: Audit [glider-reconciler 7f3a9", True),
        ("Paused via API: Audit [glider-reconciler ", True),
        ("Paused via API: Audit [", True),
        ("Paused via API: Audit", False),
        ("Paused via API: Freeze", False),
        ("Paused via API: Audit [glider-reconciler 7f3a9c] (key 1)", False),
    ],
)
def test_is_cut(reason: str | None, *, cut: bool) -> None:
    """A reason that ends within our mark was cut; one that ends in it, or never held it, was not."""
    assert is_cut(reason, with_mark("Audit", TOKEN)) is cut
    assert not is_cut(reason, "Audit")


def test_a_mark_in_the_declared_reason_is_not_ours_to_be_cut() -> None:
    """Only what was cut within the mark at the end lost a mark of this write."""
    sent = with_mark("Like [glider-reconciler 000001]", TOKEN)
    assert not is_cut("Paused via API: Like [glider-reconciler 0000", sent)
    assert is_cut(f"Paused via API: {sent[:-1]}", sent)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Freeze", "Freeze"),
        ("Freeze [glider-reconciler]", "Freeze"),
        ("Freeze [glider-reconciler 7f3a9c]", "Freeze"),
        ("[glider-reconciler 7f3a9c] Freeze [glider-reconciler", "Freeze"),
        ("[glider[glider-reconciler]-reconciler 7f3a9c] x", "x"),
    ],
)
def test_without_mark(text: str, left: str) -> None:
    """Nothing that is or was a mark is left, so that no declared reason looks like ours."""
    assert without_mark(text) == left


@pytest.mark.parametrize(
    ("schedule_id", "found"),
    [
        (None, None),
        ("sched_1", None),
        ("due ", None),
        ("due then", None),
        ("due 2026-11-22T12:00:00.000Z", NOON_MS),
        ("due 2026-11-22T12:00:00.250Z", NOON_MS + 250),
    ],
)
def test_due_ms_of(schedule_id: str | None, found: int | None) -> None:
    """The due time is read back to the millisecond; the id of a v1 schedule is none."""
    assert due_ms_of(schedule_id) == found


@pytest.mark.parametrize(
    ("due", "before", "interval", "ours"),
    [
        (None, NOON_MS, HOUR_MS, False),
        (NOON_MS, None, HOUR_MS, False),
        (None, None, None, False),
        (NOON_MS, NOON_MS, None, True),
        (NOON_MS, NOON_MS, HOUR_MS, True),
        (NOON_MS + HOUR_MS, NOON_MS, HOUR_MS, True),
        (NOON_MS + 3 * HOUR_MS, NOON_MS, HOUR_MS, True),
        (NOON_MS + HOUR_MS, NOON_MS, None, False),
        (NOON_MS + HOUR_MS + 1, NOON_MS, HOUR_MS, False),
        (NOON_MS + 1, NOON_MS, HOUR_MS, False),
        (NOON_MS - HOUR_MS, NOON_MS, HOUR_MS, False),
        (NOON_MS + HOUR_MS + 7, NOON_MS + 7, HOUR_MS, True),
        (NOON_MS + HOUR_MS - 7, NOON_MS + 7, HOUR_MS, False),
    ],
)
def test_is_our_due(due: int | None, before: int | None, interval: int | None, *, ours: bool) -> None:
    """The same due time, or whole intervals later: it fell due in between. Anything else is a person's resume."""
    assert is_our_due(due, before_ms=before, interval_ms=interval) is ours
