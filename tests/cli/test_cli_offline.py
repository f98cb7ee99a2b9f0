"""A plan without a key: what `status --out` saved is planned from later, and apply looks again before it writes."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.advice import TRIGGERS_A_DAY
from tests.cli.conftest import CANARY
from tests.fleets import STRATEGIES, fleets
from tests.support import timeless

if TYPE_CHECKING:
    from reconciler.core.model import Desired
    from tests.cli.conftest import Ended, Shell


@pytest.fixture
def offline(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The same folder with a live file of its sandbox, and neither a key nor a sandbox any more."""
    ended = shell("status --sandbox --out live.json")
    assert (ended.code, "plan --live live.json" in ended.err) == (0, True)
    monkeypatch.delenv("GLIDER_API_KEY")
    return shell


def meaning(ended: Ended) -> dict[str, Any]:
    """Return a plan's document without its times."""
    return timeless(ended.json)


def test_the_same_plan_without_a_key(offline: Shell) -> None:
    """From the file comes the plan that the service gives, with the same fingerprint; and it says as of when."""
    at_once = offline("plan --sandbox -o json")
    assert at_once.json["as_of"] is None
    (offline.folder / ".reconciler/sandbox.db").unlink()
    later = offline("plan --live live.json -o json")
    assert later.code == 0
    assert meaning(later) == meaning(at_once)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", later.json["as_of"])
    assert later.json["as_of"] == json.loads((offline.folder / "live.json").read_text())["as_of"]


def test_what_the_journal_knew_of_a_pause_comes_along(shell: Shell) -> None:
    """A record of a pause of ours is believed from the journal here, as it is at once; so is that there is none."""
    assert shell("status --sandbox --out live.json").code == 0
    assert shell("plan --live live.json -o json").json["journal"] == "missing"
    assert shell("apply --sandbox --auto-approve").code == 0
    assert shell("status --sandbox --out live.json").code == 0
    later, at_once = shell("plan --live live.json -o json"), shell("plan --sandbox -o json")
    assert (later.json["journal"], later.json["warnings"]) == ("in_use", at_once.json["warnings"])
    assert meaning(later) == meaning(at_once)


def test_records_come_from_the_journal_here(shell: Shell) -> None:
    """What our journal knows counts, whichever machine read; without it the schedule is unverified, and a pause of
    ours that has no mark is held."""
    shell.write("automation.yaml", "version: 1\nportfolios:\n  ddd: {state: active, interval: 24h, offset: 3h}\n")
    assert shell("apply --sandbox --auto-approve").code == 0
    journal, away = shell.folder / ".reconciler/journal.db", shell.folder / "away.db"
    journal.rename(away)
    assert shell("status --sandbox --out live.json").code == 0
    for option, unverified in (("--journal away.db", 0), ("", 1)):
        plan = shell(f"plan --live live.json -o json {option}").json
        assert (plan["summary"]["unverified"], plan["summary"]["update"]) == (unverified, unverified)
    assert not journal.exists()


def test_a_portfolio_that_was_written_to_since_is_blocked(shell: Shell) -> None:
    """Whatever our journal wrote to after the look is not planned from it; a rebalance and the others are no matter."""
    assert shell("status --sandbox --out before.json").code == 0
    assert shell("apply --sandbox --auto-approve --target aaa --target ddd").code == 0
    assert shell("rebalance ddd --sandbox --auto-approve").code == 0
    plan = shell("plan --live before.json -o json")
    assert plan.code == 1
    assert [(one["id"], one["reason"]) for one in plan.json["blocked"]] == [("aaa", "outdated"), ("ddd", "outdated")]
    assert "it was not read since our last write to it" in plan.json["errors"][0]["problem"]
    assert [change["id"] for change in plan.json["changes"]] == ["bbb"]
    assert plan.json["warnings"] == []
    assert shell("status --sandbox --out after.json").code == 0
    assert shell("rebalance ddd --sandbox --auto-approve").code == 0
    assert shell("plan --live after.json -o json").json["blocked"] == []


def test_people_are_told(offline: Shell) -> None:
    """Text and Markdown say in their head that live was read earlier, and a plan that was read now does not."""
    text = offline("plan --live live.json").out
    assert re.search(r"live as of \d{4}-\d\d-\d\d \d\d:\d\d UTC at sandbox://\w+, read earlier\n", text)
    markdown = offline("plan --live live.json -o markdown").out
    assert re.search(r"^\*\*Live as of .* UTC, read earlier\.\*\*$", markdown, re.MULTILINE)
    assert "as of" not in offline("plan --sandbox").out + offline("plan --sandbox -o markdown").out


@pytest.mark.parametrize("line", ["apply old.json", "apply --approved old.json"])
def test_such_a_plan_is_applied_while_it_is_young(offline: Shell, line: str) -> None:
    """It does what a plan made at once would do; after an hour it is refused, unless somebody allows older reads."""
    saved = offline("plan --live live.json --out old.json")
    assert "reconciler apply old.json" in saved.err
    assert offline("show old.json").out == saved.out
    assert offline("sandbox advance 61m").code == 0
    ended = offline(f"{line} --sandbox -o json")
    assert (ended.code, ended.json["exit_reason"]) == (4, "stale")
    assert "1h1m ago, and at most 1h is allowed" in ended.err
    assert offline("plan --sandbox -o json").json["summary"]["no_op"] == 0
    assert offline(f"{line} --sandbox --max-age 30m").code == 4
    assert offline(f"{line} --sandbox --max-age 2h").code == 0
    assert offline("plan --sandbox --detailed-exitcode").code == 0


def test_an_age_is_about_every_saved_plan(shell: Shell) -> None:
    """A plan that was read for itself has no limit but the one that is given, and without a plan there is no age."""
    assert shell("plan --sandbox --out plan.json").code == 0
    assert shell("sandbox advance 3h").code == 0
    assert shell("apply plan.json --sandbox --max-age 1h").code == 4
    assert shell("apply plan.json --sandbox --max-age soon").code == 64
    assert shell("apply --sandbox --auto-approve --max-age 1h").code == 64
    assert shell("apply plan.json --sandbox").code == 0


def test_reads_of_a_time_that_has_not_come_yet_are_not_applied(shell: Shell) -> None:
    """Whoever makes a file younger than it can be does not get round its age."""
    assert shell("status --sandbox --out live.json").code == 0
    live = (shell.folder / "live.json").read_text()
    shell.write("later.json", live.replace('"as_of": "2', '"as_of": "3'))
    assert shell("plan --live later.json --out plan.json").code == 0
    ended = shell("apply plan.json --sandbox")
    assert ended.code == 4
    assert "and at the service it is 2" in ended.err


def test_what_the_file_does_not_hold_is_blocked(shell: Shell) -> None:
    """A declared portfolio that was not read is blocked with the repair, and the plan exits 1."""
    shell("status --sandbox --target aaa --out live.json")
    ended = shell("plan --live live.json -o json")
    assert (ended.code, ended.json["exit_reason"]) == (1, "error")
    assert [(b["id"], b["reason"]) for b in ended.json["blocked"]] == [(i, "not_read") for i in ("bbb", "ccc", "ddd")]
    assert "the live file does not hold it" in shell("plan --live live.json").out
    assert shell("plan --live live.json --target aaa").code == 0


def test_a_strategy_that_the_file_does_not_hold_is_blocked(offline: Shell) -> None:
    """No strategy that was not read reads as unchanged."""
    offline.write("automation.yaml", "version: 1\nstrategies:\n  abc12345: {schedule: daily}\n")
    ended = offline("plan --live live.json -o json")
    assert ended.code == 1
    (blocked,) = ended.json["blocked"]
    assert (blocked["id"], blocked["reason"], blocked["status"]) == ("strategies/abc12345", "not_read", "not_read")
    assert "make one that does with `reconciler status --out FILE`" in blocked["detail"]


MIXED_SEED = """
version: 1
strategies:
  S1: {frequency: daily}
  S2: {frequency: weekly}
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  pf_a: {api: v2, strategy: S1, status: active}
  pf_b: {api: v2, strategy: S1, status: active, name: Forgotten}
  pf_c: {api: v2, strategy: S2, status: paused}
"""
MIXED = """
version: 1
strategies:
  S1: {schedule: hourly}
  S2: {schedule: weekly}
portfolios:
  aaa: {state: paused}
  pf_a: {api: v2, state: paused}
"""


@pytest.fixture
def mixed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The same folder with portfolios of both APIs and strategies, and a live file of them."""
    shell.holding(MIXED_SEED, MIXED)
    assert shell("status --sandbox --out live.json").code == 0
    monkeypatch.delenv("GLIDER_API_KEY")
    return shell


def test_the_list_and_the_cadences_are_in_the_file(mixed: Shell) -> None:
    """What is unmanaged and whom a new cadence reaches is known without the service."""
    plan = mixed("plan --live live.json -o json").json
    assert (plan["listing"], [one["id"] for one in plan["unmanaged"]]) == ("complete", ["pf_b", "pf_c"])
    *_, change = plan["changes"]
    ends = change["before"]["cadence"], change["after"]["cadence"]
    assert (change["id"], *ends, change["reach"]) == ("strategies/S1", "daily", "hourly", 2)
    assert plan["summary"]["strategies"] == {"update": 1, "no_op": 1, "blocked": 0, "frozen": 0}
    assert mixed("plan --live live.json --fail-on unmanaged").code == 1
    some = mixed("plan --live live.json --target aaa --fail-on unmanaged")
    assert "only some portfolios are selected" in some.err


def test_what_was_triggered_is_told(mixed: Shell) -> None:
    """A warning about rebalances by hand that a plan made at once gives is given by one from a file too."""
    for _ in range(TRIGGERS_A_DAY + 1):
        assert mixed("rebalance aaa --sandbox --auto-approve --although-paused aaa").code == 0
    assert mixed("status --sandbox --out live.json").code == 0
    at_once, later = mixed("plan --sandbox -o json"), mixed("plan --live live.json -o json")
    assert "5 rebalances were asked for in 24h" in str(later.json["warnings"])
    assert meaning(later) == meaning(at_once)


def test_a_portfolio_that_is_declared_later_is_in_the_list(mixed: Shell) -> None:
    """A branch that declares what nobody did plans it from the list; on the other API it is blocked."""
    mixed.write("automation.yaml", f"{MIXED}  pf_b: {{api: v2, state: paused}}\n  pf_c: {{state: paused}}\n")
    plan = mixed("plan --live live.json -o json").json
    assert [change["id"] for change in plan["changes"]] == ["aaa", "pf_a", "pf_b", "strategies/S1"]
    assert [(one["id"], one["reason"]) for one in plan["blocked"]] == [("pf_c", "not_read")]
    assert plan["unmanaged"] == []


def test_the_other_api_that_has_it_is_told(mixed: Shell) -> None:
    """What is declared on the wrong API is told from a file as it is at once."""
    mixed.write("automation.yaml", f"{MIXED}  pf_b: {{state: paused}}\n")
    assert mixed("status --sandbox --out live.json").code == 0
    at_once, later = mixed("plan --sandbox -o json"), mixed("plan --live live.json -o json")
    assert "v2 has it: declare it with `api: v2`" in later.json["blocked"][0]["detail"]
    assert meaning(later) == meaning(at_once)


def test_the_list_is_read_for_strategies_alone(mixed: Shell) -> None:
    """Without a v2 portfolio in the files the reach is known too, and who is unmanaged is still nobody's question."""
    mixed.write("automation.yaml", MIXED[: MIXED.index("  pf_a")])
    assert mixed("status --sandbox --out live.json").code == 0
    at_once, later = mixed("plan --sandbox -o json"), mixed("plan --live live.json -o json")
    assert [(one["id"], one["reach"]) for one in later.json["changes"]] == [("aaa", None), ("strategies/S1", 2)]
    assert later.json["listing"] == "none"
    assert meaning(later) == meaning(at_once)
    assert "the live files hold no list of them" in mixed("plan --live live.json --fail-on unmanaged").err


def test_a_file_that_tells_less_is_planned_from(mixed: Shell) -> None:
    """What it can't tell is unknown: unmanaged is not known, and strategies are blocked."""
    document = json.loads((mixed.folder / "live.json").read_text()) | {"list": None, "strategies": []}
    document["portfolios"] = [
        {key: value for key, value in one.items() if key != "listed"} for one in document["portfolios"]
    ]
    mixed.write("less.json", json.dumps(document))
    ended = mixed("plan --live less.json -o json")
    assert ended.code == 1
    assert [change["id"] for change in ended.json["changes"]] == ["aaa", "pf_a"]
    assert (ended.json["listing"], ended.json["unmanaged"]) == ("none", [])
    blocked = [("strategies/S1", "not_read"), ("strategies/S2", "not_read")]
    assert [(one["id"], one["reason"]) for one in ended.json["blocked"]] == blocked


def test_a_failed_read_of_a_strategy_is_saved_and_told(shell: Shell) -> None:
    """The table shows no strategies, so stderr says what the file lacks, and the exit code too."""
    shell.write("automation.yaml", "version: 1\nstrategies:\n  S1: {schedule: daily}\n")
    at_once = shell("status --base-url http://127.0.0.1:9 --out live.json -o json")
    assert at_once.code == 8
    assert "the live file does not hold everything: " in at_once.err
    later = shell("plan --live live.json -o json")
    assert (later.code, later.json["blocked"][0]["reason"]) == (8, "read_failed")


def declared_as(desired: list[Desired], cadences: dict[str, str]) -> str:
    """Return files, in JSON, that declare these portfolios and strategies."""
    portfolios: dict[str, dict[str, Any]] = {}
    for one in desired:
        fields = {
            "api": one.api.value,
            "state": one.state.value,
            "interval": one.interval_ms,
            "offset": one.offset_ms if one.interval_ms is not None else None,
            "hold": "override" if one.hold_override else None,
        }
        portfolios[one.id] = {key: value for key, value in fields.items() if value is not None}
    strategies = {name: {"schedule": word} for name, word in cadences.items()}
    return json.dumps({"version": 1, "portfolios": portfolios, "strategies": strategies})


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fleets(),
    st.dictionaries(st.sampled_from([*STRATEGIES, "FOREIGN"]), st.sampled_from(["hourly", "daily", "weekly"])),
    st.booleans(),
)
def test_a_plan_of_a_live_file_is_the_plan_made_at_that_time(
    shell: Shell, fleet: tuple[dict[str, dict[str, Any]], list[Desired]], cadences: dict[str, str], applied: bool
) -> None:
    """For any fleet of both APIs with strategies, before an apply and after it: the same document but for times."""
    live, desired = fleet
    seed = {"version": 1, "strategies": {**STRATEGIES, "FOREIGN": {"owner": "foreign"}}, "portfolios": live}
    shell.holding(json.dumps(seed), declared_as(desired, cadences))
    if applied:
        shell("apply --sandbox --auto-approve --allow start=9 --allow resume=9 --allow update=9 --allow reach=9")
    assert shell("status --sandbox --no-results --out live.json").code == 0
    at_once = shell("plan --sandbox -o json")
    later = shell("plan --live live.json -o json")
    assert (later.code, meaning(later)) == (at_once.code, meaning(at_once))


def test_a_failed_read_is_saved_and_blocks(shell: Shell) -> None:
    """What could not be read stays so in the file: the later plan exits as one at once would have."""
    at_once = shell("status --base-url http://127.0.0.1:9 --target aaa --out live.json -o json")
    assert at_once.code == 8
    assert at_once.json["portfolios"][0]["status"] == "unreadable"
    later = shell("plan --live live.json --target aaa -o json")
    assert (later.code, later.json["exit_reason"]) == (8, "unreachable")
    assert later.json["blocked"][0]["reason"] == "read_failed"


def test_the_other_options_work_as_ever(offline: Shell) -> None:
    """Selection, policies and the exit code of changes are about the plan, not about where live came from."""
    assert offline("plan --live live.json --detailed-exitcode").code == 2
    plan = offline("plan --live live.json --resume-held ccc --exclude aaa -o json").json
    assert [change["id"] for change in plan["changes"]] == ["bbb", "ccc", "ddd"]
    assert offline("plan --live live.json --resume-held nobody").code == 64


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--sandbox", "--sandbox"),
        ("--base-url https://api.glider.fi", "--base-url"),
        ("--max-rate 9/s", "--max-rate"),
        ("--base-url https://api.glider.fi --sandbox x.db", "--base-url and --sandbox"),
    ],
)
def test_a_service_beside_a_file_is_wrong_usage(offline: Shell, options: str, named: str) -> None:
    """Live comes from the file or from a service: naming both is refused, by name."""
    ended = offline(f"plan --live live.json {options} -o json")
    assert (ended.code, ended.json["exit_reason"]) == (64, "usage")
    assert f"drop {named}." in ended.err


def test_a_service_of_the_environment_is_not_used(offline: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that sets GLIDER_BASE_URL and GLIDER_PROXY for all its steps may plan from a file all the same."""
    monkeypatch.setenv("GLIDER_BASE_URL", "https://glider.example")
    monkeypatch.setenv("GLIDER_PROXY", "http://proxy.example:3128")
    assert offline("plan --live live.json -o json").json["base_url"].startswith("sandbox://")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't read the live file live.json: No such file"),
        ("", "not a live file"),
        ("cut", "not a live file"),
        ('{"format_version": "4.0", "portfolios": []}', "the live file has format version 4.0"),
        ('{"format_version": "2.0", "portfolios": []}', "the live file has format version 2.0"),
    ],
    ids=["missing", "empty", "cut", "newer", "older"],
)
def test_a_live_file_that_is_not_one(offline: Shell, content: str | None, sentence: str) -> None:
    """A missing or cut file, or one of another format, exits 3 with a sentence and the repair, never an empty plan."""
    path = offline.folder / "live.json"
    whole = path.read_text()
    path.unlink()
    if content is not None:
        path.write_text(whole[: len(whole) // 2] if content == "cut" else content)
    ended = offline("plan --live live.json -o json")
    assert (ended.code, ended.json["exit_reason"]) == (3, "invalid")
    assert sentence in ended.err
    assert ended.json["errors"][0]["repair"]


def test_a_saved_plan_and_the_table_are_no_live_files(offline: Shell) -> None:
    """Other documents of this program are told from a live file."""
    offline("plan --live live.json --out plan.json")
    offline.write("table.json", offline("status --sandbox -o json").out)
    assert offline("plan --live plan.json").code == 3
    assert offline("plan --live table.json").code == 3


def test_the_file_appears_whole_or_not_at_all(offline: Shell) -> None:
    """Nothing is left beside the file, the key is not in it, and where it can't be written the old one stays."""
    assert [path.name for path in offline.folder.glob("live*")] == ["live.json"]
    assert CANARY not in (offline.folder / "live.json").read_text()
    ended = offline("status --sandbox --out missing/live.json")
    assert ended.code == 1
    assert "can't save the live file to missing/live.json" in ended.err
    assert stat.S_ISREG((offline.folder / "live.json").stat().st_mode)
