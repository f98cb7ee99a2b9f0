"""A saved plan read back: everything in it, and what is not believed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler import TOOL
from reconciler.core.errors import ExitReason, NotExpected, PlanInvalid, StalePlan
from reconciler.core.planfile import format_plan, parse_plan, require_account, require_service
from tests.core.plans import DOCUMENT, RICH
from tests.support import BASE_URL

if TYPE_CHECKING:
    from reconciler.core.plan import Plan

NO_PLAN = (
    "the file is not a saved plan",
    "It is cut, edited or something else. Make it again with `reconciler plan --out FILE`.",
)
EDITED = (
    "the plan file does not match its fingerprint",
    "It was edited after it was made. Make it again with `reconciler plan --out FILE`.",
)
REMOVED = object()
TEXT = json.dumps(DOCUMENT)


def changed(path: str, value: object) -> str:
    """Return the rich document with one value changed or removed; ``path`` is dotted."""
    document = json.loads(TEXT)
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    place: Any = document
    for part in parents:
        place = place[part]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


def refusal(text: str | bytes) -> tuple[str, str]:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(text)
    return caught.value.summary, caught.value.detail


@pytest.mark.parametrize("encoded", [True, False])
def test_everything_survives(encoded: bool) -> None:
    """A plan that says everything reads back as the same value, from text and from bytes."""
    text = format_plan(RICH, ExitReason.CHANGES)
    assert parse_plan(text.encode() if encoded else text) == RICH


def test_nothing_survives_too() -> None:
    """An empty plan reads back as an empty plan."""
    empty = replace(RICH, changes=(), held=(), blocked=(), unmanaged=(), no_op=0, unverified=0, over=(), warnings=())
    assert parse_plan(format_plan(empty)) == empty


def paths(value: Any, before: str = "") -> list[str]:
    """Return the dotted path of every value in a document."""
    if isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(str(number), item) for number, item in enumerate(value)]
    else:
        return []
    return [path for key, item in inner for path in (f"{before}{key}", *paths(item, f"{before}{key}."))]


NOT_READ = {
    "tool",
    "exit_reason",
    "errors",
    "runs",
    *(path for path in paths(DOCUMENT) if path.startswith("summary.")),
} - {
    "summary.no_op",
    "summary.unverified",
    "summary.strategies",
    "summary.strategies.no_op",
}
"""What is there for other programs; the plan itself is made of the rest."""
READ = [
    path
    for path in paths(DOCUMENT)
    if not (path in NOT_READ or path.startswith(("errors.", "runs.")) or path.rsplit(".", 1)[-1].isdigit())
]
NOTHING = dict.fromkeys(
    (
        *(
            "as_of",
            "account",
            "cost",
            "load",
            "state",
            "interval_ms",
            "offset_ms",
            "cadence",
            "overruled",
            "note",
            "name",
        ),
        *("pause_reason", "next_run_at", "cause", "source", "cadence_ms", "strategy", "pause_id", "since", "reach"),
        *("running", "enrolled", "shares", "last_run_at", "failure", "rule", "owner", "frozen", "halt", "live"),
    )
)
DEFAULTS: dict[str, object] = {
    **NOTHING,
    **{
        key: []
        for key in (
            "guards",
            "changes",
            "held",
            "blocked",
            "moved",
            "overdue",
            "unmanaged",
            "risks",
            "freezes",
            "halted",
        )
    },
    **{key: [] for key in ("targets", "excludes", "groups", "terms")},
    **dict.fromkeys(("writes_schedule", "run_on_start", "unverified", "auto_offset"), False),
    "api": "v1",
    "paused_by": "unknown",
    "listing": "none",
    "journal": "in_use",
    "repair": "",
    "address": "",
}
"""What a key means that is not there, by its name."""
NEEDED = {"held.0.pause_reason", "held.1.pause_reason", "summary.unverified"}
NEEDED |= {path for path in READ if path.startswith("unmanaged.")}
NEEDED |= {"guards", "warnings", "changes", "held", "blocked", "moved", "unmanaged"}
OPTIONAL = [path for path in READ if path.rsplit(".", 1)[-1] in DEFAULTS and path not in NEEDED]


def read(text: str) -> Plan | tuple[str, str]:
    """Return the plan of a file, or what is said of it."""
    try:
        return parse_plan(text)
    except PlanInvalid as refused:
        return refused.summary, refused.detail


@pytest.mark.parametrize("path", [path for path in READ if path not in OPTIONAL])
def test_every_key_is_needed(path: str) -> None:
    """Without any one of the keys that nothing stands in for, a file is not a saved plan."""
    assert refusal(changed(path, REMOVED)) == NO_PLAN


@pytest.mark.parametrize("path", OPTIONAL)
def test_what_a_missing_key_means(path: str) -> None:
    """It is its default, and where that means another change, the file is found out all the same."""
    assert read(changed(path, REMOVED)) == read(changed(path, DEFAULTS[path.rsplit(".", 1)[-1]]))


TYPED = [
    path
    for path in READ
    if not path.endswith(("live", "desired", "format_version", "fingerprint"))
    and path not in ("warnings.1.line", "warnings.1.column")  # meaningless without a file
]


@pytest.mark.parametrize("path", TYPED)
def test_every_value_has_its_type(path: str) -> None:
    """A value of a type that no plan has there is never taken for another one."""
    assert refusal(changed(path, 1.5)) == NO_PLAN


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("changes.0.id", ""),
        ("changes.0.id", "a/b"),
        ("changes.0.id", "a b"),
        ("changes.0.id", "ä"),
        ("changes.0.id", "a" * 129),
        ("held.0.id", "../x"),
        ("blocked.0.id", "a.b"),
        ("unmanaged.0.id", "a?b"),
        ("unmanaged.0", 7),
        ("unmanaged.0.status", "gone"),
        ("listing", "half"),
        ("changes.0.api", "v3"),
        ("changes.0.verb", "delete"),
        ("changes.0.before.state", "gone"),
        ("changes.0.id", "strategies/"),
        ("changes.0.id", "strategies/a/b"),
        ("changes.0.id", "strategies/a-full_1"),
        ("held.0.id", "strategies/c-held"),
        ("unmanaged.0.id", "strategies/y"),
        ("changes.0.before.state", None),
        ("changes.0.after.state", None),
        ("changes.0.before.cadence", "daily"),
        ("changes.0.after.cadence", "daily"),
        ("changes.0.fields.0.field", "schedule"),
        ("changes.0.reach", -1),
        ("changes.0.running", "60"),
        ("blocked.0.failure", "tired"),
        ("changes.0.before.interval_ms", True),
        ("changes.0.writes_schedule", 1),
        ("changes.0.writes_schedule", "yes"),
        ("changes.0.reason", "why not"),
        ("changes.0.risks.0", "none"),
        ("changes.0.cause", "chance"),
        ("changes.0.cause", ""),
        ("changes.0.fields.0.field", "name"),
        ("changes.0.fields.0.verdict", "maybe"),
        ("changes.0.fields.0.provenance", "guessed"),
        ("changes.0.fields.1.overruled", "48h"),
        ("changes.0.fields.1.overruled", -1),
        ("changes.0.fields.1.overruled", 10**18),
        ("changes.0.cadence_ms", 0),
        ("changes.0.before.interval_ms", 0),
        ("changes.0.after.offset_ms", -1),
        ("changes.0.next_run_at", "soon"),
        ("changes.0.next_run_at", "0001-01-01T00:00:00.000+14:00"),
        ("changes.0.source", {"file": "a.yaml", "line": "12"}),
        ("blocked.0.reason", "because"),
        ("guards.0.verb", "stop"),
        ("warnings.0.severity", "hint"),
        ("warnings.0.line", None),
        ("summary.no_op", False),
        ("created_at", "yesterday"),
        ("created_at", "2026-11-22T12:00:00"),
        ("created_at", "2026-11-22T13:00:00.000+01:00"),
        ("as_of", "9999-12-31T23:59:59.999999+00:00"),
        ("config.files.0", None),
        ("selection.groups", None),
    ],
)
def test_values_that_no_plan_has(path: str, value: object) -> None:
    """A word, number, id or time that no plan has makes it something else."""
    assert refusal(changed(path, value)) == NO_PLAN


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (
            "changes.0.id",
            "a/b",
            r"Expected `str` matching regex '\\A(strategies/)?[A-Za-z0-9_-]{1,128}\\Z' - at `$.changes[0].id`",
        ),
        ("base_url", 1, "Expected `str`, got `int` - at `$.base_url`"),
        ("summary.no_op", "4", "Expected `int`, got `str` - at `$.no_op`"),
        ("changes.0.run_on_start", None, "Expected `bool`, got `null` - at `$.changes[0].run_on_start`"),
        ("changes.0.fields.0.live", "active", "a field that is not its change's"),
        ("changes.0.before.cadence", "daily", "a change that is neither a portfolio's nor a strategy's"),
    ],
)
def test_what_was_wrong_is_kept(path: str, value: object, cause: str) -> None:
    """The error keeps what was found, for whoever looks behind it."""
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(changed(path, value))
    assert str(caught.value.__cause__) == cause


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"plan"', b"\xff\xfe\xff", "{}", "[" * 100_000])
def test_not_a_plan(text: str | bytes) -> None:
    """What is not such a file is refused, with the way to make one."""
    assert refusal(text) == NO_PLAN


@pytest.mark.parametrize("key", ["fingerprint", "changes", "format_version"])
def test_a_key_twice(key: str) -> None:
    """A plan that shows a reviewer one value and this program another is none, even where both are the same."""
    assert refusal(f'{{"{key}": 0, {json.dumps(DOCUMENT)[1:]}') == NO_PLAN
    assert refusal(json.dumps(DOCUMENT).replace('"verb":', '"verb": "pause", "verb":', 1)) == NO_PLAN


@pytest.mark.parametrize("number", [1, 2, 64, 128])
def test_ids_of_every_length(number: int) -> None:
    """An id of 1 to 128 characters is a portfolio's."""
    text = changed("unmanaged.0.id", "_" + "-" * (number - 1))
    assert parse_plan(text).unmanaged[0].id == "_" + "-" * (number - 1)


@pytest.mark.parametrize("value", [{"a": 1}, "x", -5, 1.5, None, 0])
@pytest.mark.parametrize("path", [f"changes.0.fields.{n}.{side}" for n in range(3) for side in ("live", "desired")])
def test_fields_are_those_of_their_change(path: str, value: object) -> None:
    """The fingerprint does not cover the fields, so they must be what both ends of their change say."""
    assert refusal(changed(path, value)) == NO_PLAN


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fingerprint", "0" * 64),
        ("fingerprint", None),
        ("base_url", "https://elsewhere"),
        ("changes.1.after.interval_ms", 1),
        ("changes.0.note", "Somebody else's"),
        ("changes.0.run_on_start", False),
        ("changes.0.reason", "paused_by_us"),
        ("guards", []),
        ("changes", []),
    ],
)
def test_edited(path: str, value: object) -> None:
    """A plan that was edited after it was made does not match its fingerprint."""
    assert refusal(changed(path, value)) == EDITED


@pytest.mark.parametrize(
    ("version", "named"),
    [
        ("1.0", "1.0"),
        ("2.0", "2.0"),
        ("0.9", "0.9"),
        ("10.0", "10.0"),
        ("11", "11"),
        (None, "None"),
        (1, "1"),
        ("", ""),
        ("x" * 21, "x" * 20),
    ],
)
def test_another_major_version(version: object, named: str) -> None:
    """Another major format is refused by its number, of which no more than 20 characters are repeated."""
    assert refusal(changed("format_version", version)) == (
        f"the plan file has format version {named}",
        f"This is {TOOL}, which reads version 3.1. Make the plan again with this version.",
    )


@pytest.mark.parametrize("version", ["3.0", "3.7", "3", "3.2.3"])
def test_a_minor_version_only_adds_keys(version: str) -> None:
    """A later minor format is read, and what it adds is passed by."""
    document = json.loads(changed("format_version", version)) | {"added": 1}
    assert parse_plan(json.dumps(document)) == RICH


def test_the_service_must_be_the_same() -> None:
    """A plan is of one service, to the letter."""
    require_service(RICH, BASE_URL)
    with pytest.raises(StalePlan) as caught:
        require_service(RICH, "https://elsewhere")
    assert (caught.value.summary, caught.value.detail) == (
        "the plan was made for sandbox://test, not for https://elsewhere",
        "Point GLIDER_BASE_URL or --base-url at the service it was made for, or plan again.",
    )


@pytest.mark.parametrize(
    ("made_with", "key_of", "told"),
    [
        (None, None, None),
        (None, "Acme EU", None),
        ("Acme EU", "Acme EU", None),
        ("Acme EU", "Acme US", "the plan was made for the account Acme EU, and this key belongs to Acme US"),
        ("Acme EU", None, "the plan was made for the account Acme EU, and whose key this is can't be known"),
    ],
)
def test_a_plan_is_for_the_account_it_was_made_with(
    made_with: str | None, key_of: str | None, told: str | None
) -> None:
    """A plan that knows its account takes no other key, and none whose account can't be known."""
    plan = replace(RICH, account=made_with)
    if told is None:
        require_account(plan, key_of)
        return
    with pytest.raises(NotExpected) as refused:
        require_account(plan, key_of)
    assert (refused.value.summary, refused.value.detail) == (
        told,
        "Nothing was written. Use the key of that account, or plan again.",
    )


def test_a_source_line_is_not_read_from_a_file() -> None:
    """A warning is shown with a line of the files as they are, and never with one that a plan file claims."""
    document = json.loads(format_plan(RICH))
    for warning in document["warnings"]:
        warning["excerpt"] = "state: active"
    assert [warning.excerpt for warning in parse_plan(json.dumps(document)).warnings] == [None] * len(RICH.warnings)
