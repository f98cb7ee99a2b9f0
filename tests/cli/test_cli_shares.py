"""A fleet read in shares: together they make the whole plan, and no share makes an apply write what live denies."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reconciler.core.model import ApiVersion, PortfolioId
from reconciler.core.shares import share_of
from tests.cli.test_cli_offline import declared_as, meaning
from tests.fleets import STRATEGIES, fleets
from tests.process.support import glider
from tests.support import examples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.core.model import Desired
    from tests.cli.conftest import Shell

SEED = """
version: 1
settings: {readable_schedule: %s}
strategies:
  S1: {frequency: daily}
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  bbb: {status: paused, interval: 24h, pause_reason: "Paused via API: Freeze [glider-reconciler]"}
  ccc: {status: paused, interval: 24h, pause_reason: Paused from the app}
  ddd: {status: inactive}
  eee: {status: active, interval: 12h, offset: 3h, started: 10d}
  pf_a: {api: v2, strategy: S1, status: active}
  pf_b: {api: v2, strategy: S1, status: paused}
"""
FILES = """
version: 1
guards: {max_start: 9, max_resume: 9, max_update: 9, max_reach: 1}
strategies:
  S1: {schedule: daily}
portfolios:
  aaa: {state: paused}
  bbb: {state: active}
  ccc: {state: active}
  ddd: {state: active, interval: 24h}
  eee: {state: active, interval: 12h}
  pf_a: {api: v2, state: paused}
  pf_b: {api: v2, state: paused}
"""
OF = 3
V1 = [PortfolioId(name) for name in ("aaa", "bbb", "ccc", "ddd", "eee")]


@pytest.fixture
def team(shell: Shell) -> Shell:
    """A folder with a fleet of both APIs that shows its schedules."""
    return loaded(shell, SEED % "true")


def loaded(shell: Shell, seed: str, files: str = FILES) -> Shell:
    shell.holding(seed, files)
    return shell


def read(shell: Shell, of: int = OF, *, more: str = "", only: tuple[int, ...] = ()) -> None:
    """Read the fleet in shares, each into a file of its own."""
    for old in shell.folder.glob("live-*"):
        old.unlink()
    for number in only or range(1, of + 1):
        ended = shell(f"status --sandbox --shard {number}/{of} --round r1 --out live-{number}.json {more}")
        assert (shell.folder / f"live-{number}.json").exists(), ended.err


def share_with(portfolio: str) -> str:
    return f"live-{share_of(PortfolioId(portfolio), ApiVersion.V1, of=OF)}.json"


def forge(shell: Shell, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the document of a share."""
    path = shell.folder / name
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def live_of(shell: Shell) -> dict[str, Any]:
    """Return what is live, by portfolio, as a look tells."""
    rows = shell("status --sandbox --no-results -o json").json["portfolios"]
    return {row["id"]: {key: row[key] for key in ("status", "interval", "offset", "pause_reason")} for row in rows}


@pytest.mark.slow
@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example is ten commands: to shrink one takes minutes
)
@given(
    fleet=fleets(9),
    cadences=st.dictionaries(st.sampled_from([*STRATEGIES, "FOREIGN"]), st.sampled_from(["hourly", "daily", "weekly"])),
    of=st.integers(2, 6),
    data=st.data(),
)
def test_the_joined_plan_is_the_whole_plan(
    shell: Shell,
    fleet: tuple[dict[str, dict[str, Any]], list[Desired]],
    cadences: dict[str, str],
    of: int,
    data: st.DataObject,
) -> None:
    """For any fleet of both APIs, number of shares and selection: the same document, but for times and shares, with its
    guards, costs and advice; before the joined plan is applied, and after it."""
    live, desired = fleet
    seed = {"version": 1, "strategies": {**STRATEGIES, "FOREIGN": {"owner": "foreign"}}, "portfolios": live}
    files = json.loads(declared_as(desired, cadences))
    files |= {"defaults": {"costs": {"per_rebalance_usd": 0.4}}, "groups": {"odd": {}}, "guards": {"max_pause": 1}}
    for one in list(files["portfolios"].values())[::2]:
        one["group"] = "odd"
    loaded(shell, json.dumps(seed), json.dumps(files))
    (shell.folder / ".reconciler/journal.db").unlink(missing_ok=True)
    ids = [one.id for one in desired]
    some = sorted(data.draw(st.sets(st.sampled_from(ids), min_size=1)))
    targets, excludes = (" ".join(f"{option} {i}" for i in some) for option in ("--target", "--exclude"))
    ways = ["", targets, "--select group=odd", *([excludes] if len(some) < len(ids) else [])]
    selection = data.draw(st.sampled_from(ways))
    allowed = " ".join(f"--allow {what}=99" for what in ("start", "resume", "update", "pause", "reach"))
    for _ in range(2):
        read(shell, of, more=selection)
        at_once = shell(f"plan --sandbox -o json {selection}")
        later = shell(f"plan --live live-*.json -o json --out plan.json {selection}")
        assert (later.code, meaning(later)) == (at_once.code, meaning(at_once))
        if later.code == 7:  # most are not found: neither is a plan
            return
        assert later.json["shares"] == {"round": "r1", "of": of, "missing": []}
        shell(f"apply plan.json --sandbox {allowed}")


@pytest.mark.slow
def test_the_first_share_alone_reads_the_list_and_the_strategies(tmp_path: Path) -> None:
    """Each v1 portfolio is asked once, by its share; the others ask neither for the list nor for a strategy."""
    with glider(tmp_path, yaml.safe_load(SEED % "true")) as served:
        (tmp_path / "automation.yaml").write_text(FILES, encoding="utf-8")
        for number in range(1, OF + 1):
            before = len(served.app.requests.kept())
            ended = served.run("status", "--shard", f"{number}/{OF}", "--out", f"live-{number}.json")
            assert ended.returncode == 0, ended
            sent = [request.path for request in served.app.requests.kept()[before:]]
            asked = {i for i in V1 if f"/v1/portfolio/{i}/automation/status" in sent}
            assert asked == {i for i in V1 if share_of(i, ApiVersion.V1, of=OF) == number}
            rest = [path for path in sent if "/automation/status" not in path and "whoami" not in path]
            assert [path.split("?")[0] for path in rest] == (
                ["/v2/portfolios", "/v2/strategies/S1/schedule"] if number == 1 else []
            )


def test_shares_are_joined_from_globs_and_names(team: Shell) -> None:
    """A file that two arguments name counts once, and one that matches nothing is missed by its name."""
    read(team)
    whole = team("plan --live live-*.json -o json")
    assert whole.code == 0
    by_name = team("plan --live live-1.json --live live-[23].json --live live-*.json -o json")
    assert meaning(by_name) == meaning(whole)
    missed = team("plan --live shares/*.json -o json")
    assert (missed.code, "can't read the live file shares/*.json" in missed.err) == (3, True)
    assert "read earlier in 3 shares" in team("plan --live live-*.json").out


def test_drift_is_found_in_shares_as_at_once(team: Shell) -> None:
    """The same document and exit code, and the page says as of when."""
    assert team("apply --sandbox --auto-approve --resume-held ccc").code == 0
    read(team)
    assert team("drift --live live-*.json").code == 0
    team.write("automation.yaml", FILES.replace("aaa: {state: paused}", "aaa: {state: active}"))
    read(team)
    at_once, later = team("drift --sandbox -o json"), team("drift --live live-*.json -o json")
    assert (later.code, meaning(later)) == (at_once.code, meaning(at_once))
    assert later.code == 2
    assert "read earlier in 3 shares" in team("drift --live live-*.json").out


def test_a_missing_share_makes_the_plan_incomplete(team: Shell) -> None:
    """Its portfolios are blocked, the first line says so, and an apply needs to be allowed their number."""
    read(team, only=(1, 3))
    gone = [i for i in V1 if share_of(i, ApiVersion.V1, of=OF) == 2]
    ended = team("plan --live live-*.json -o json --out plan.json")
    assert ended.code == 1
    assert [(one["id"], one["reason"]) for one in ended.json["blocked"]] == [(i, "not_read") for i in gone]
    assert ended.json["shares"] == {"round": "r1", "of": OF, "missing": [2]}
    assert ended.json["guards"] == [{"verb": "incomplete", "planned": len(gone), "allowed": 0, "limit": "0"}]
    for output in ("text", "markdown"):
        page = team(f"plan --live live-*.json -o {output}").out
        words = f"Incomplete: 1 share is missing (2/3), so {len(gone)} portfolios were not read."
        assert words in page
    assert team("plan --live live-*.json").out.startswith("Incomplete: ")
    before = live_of(team)
    refused = team("apply plan.json --sandbox")
    assert refused.code == 5
    assert f"--allow incomplete={len(gone)}" in refused.err
    assert team(f"apply plan.json --sandbox --allow incomplete={len(gone) - 1}").code == 5
    assert live_of(team) == before
    assert team(f"apply plan.json --sandbox --allow incomplete={len(gone)}").code == 6
    after = live_of(team)
    assert {i for i in after if after[i] != before[i]} == {
        change["id"] for change in ended.json["changes"] if change["id"] in after
    }


def test_without_the_first_share_there_is_no_list(team: Shell) -> None:
    """Its portfolios and strategies are blocked, and who is unmanaged is not known."""
    read(team, only=(2, 3))
    plan = team("plan --live live-*.json -o json").json
    blocked = {one["id"] for one in plan["blocked"]}
    assert {"pf_a", "pf_b", "strategies/S1"} <= blocked
    assert (plan["listing"], plan["unmanaged"]) == ("none", [])
    assert "and 1 strategy were not read" in team("plan --live live-*.json").out


def test_a_share_that_is_missing_without_portfolios_of_its_own(team: Shell) -> None:
    """The plan is incomplete all the same: nobody read that share, so nobody knows that it holds nothing."""
    team.write("automation.yaml", "version: 1\nportfolios:\n  aaa: {state: paused}\n")
    own = share_of(V1[0], ApiVersion.V1, of=OF)
    read(team, only=(own,))
    ended = team("plan --live live-*.json --out plan.json")
    assert "Incomplete: 2 shares are missing" in ended.out
    assert team("apply plan.json --sandbox").code == 5
    assert team("apply plan.json --sandbox --allow incomplete=0").code == 0


def test_a_share_of_a_selection_is_the_same_share(team: Shell) -> None:
    """Whatever is selected, a portfolio stays in its share, so a share can be read for a part of it."""
    read(team, more="--target aaa --target ddd")
    found = {p.name: [e["id"] for e in json.loads(p.read_text())["portfolios"]] for p in team.folder.glob("live-*")}
    assert {name: i for name, ids in found.items() for i in ids} == {share_with(i): i for i in ("aaa", "ddd")} or (
        sorted(i for ids in found.values() for i in ids) == ["aaa", "ddd"]
    )
    assert team("plan --live live-*.json --target aaa --target ddd").code == 0
    assert team("plan --live live-*.json").code == 1


def test_files_of_two_rounds_are_refused(team: Shell) -> None:
    """Exit 3, and both are named."""
    read(team)
    assert team(f"status --sandbox --shard 2/{OF} --round r2 --out live-2.json").code == 0
    ended = team("plan --live live-*.json -o json")
    assert (ended.code, ended.json["exit_reason"]) == (3, "invalid")
    assert "live-1.json and live-2.json are of two rounds: r1 and r2" in ended.err


@pytest.mark.parametrize(
    ("environ", "same"),
    [({"GITHUB_RUN_ID": "4711"}, True), ({"CI_PIPELINE_ID": "12"}, True), ({}, False)],
)
def test_the_round_is_that_of_the_run(
    team: Shell, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], same: bool
) -> None:
    """Jobs of one run of CI have it in common, so one share can be read again; elsewhere each command has its own."""
    for name in ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BUILD_TAG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for number in (1, 2):
        assert team(f"status --sandbox --shard {number}/2 --out live-{number}.json").code == 0
    ended = team("plan --live live-*.json -o json")
    assert ended.code == (0 if same else 3)
    if same:
        assert ended.json["shares"]["round"] in environ.values()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--shard 1/2", "--shard and --round are about the file that --out saves"),
        ("--round x", "--shard and --round are about the file that --out saves"),
        ("--shard 3/2 --out live.json", "3/2 means share 3 of 2"),
        ("--shard auto --out live.json", "CI_NODE_INDEX, which is not set"),
        ("--round ../x --out live.json", "Invalid value for --round: '../x'."),
        ("--shard 1/2 --out live.json --fail-on failed-rebalance", "--shard reads no results"),
    ],
)
def test_options_of_shares_that_make_no_sense(team: Shell, line: str, said: str) -> None:
    """They are refused before anything is read."""
    ended = team(f"status --sandbox {line} -o json")
    assert (ended.code, ended.json["exit_reason"]) == (64, "usage")
    assert said in ended.err


def test_the_index_of_an_engine(team: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod of an Indexed Job needs no arithmetic, and neither does a job of `parallel: N`."""
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert team("status --sandbox --shard auto/3 --out live.json").code == 0
    assert json.loads((team.folder / "live.json").read_text())["shard"] == {"number": 2, "of": 3}
    monkeypatch.setenv("CI_NODE_INDEX", "1")
    monkeypatch.setenv("CI_NODE_TOTAL", "3")
    assert team("status --sandbox --shard auto --out live.json").code == 0
    assert json.loads((team.folder / "live.json").read_text())["shard"] == {"number": 1, "of": 3}


def test_a_compressed_file(team: Shell) -> None:
    """Where the name ends in .gz it is compressed, for a plan too; it is read whatever its name is, and replaced only
    by one of its kind."""
    assert team("status --sandbox --round r1 --out live.json").code == 0
    assert team("status --sandbox --round r1 --out live.json.gz").code == 0
    packed = (team.folder / "live.json.gz").read_bytes()
    assert len(gzip.decompress(packed)) > len(packed)
    assert json.loads(gzip.decompress(packed))["format_version"] == "3.0"
    (team.folder / "renamed").write_bytes(packed)
    plain, small = team("plan --live live.json -o json"), team("plan --live renamed --out plan.json.gz -o json")
    assert meaning(plain) == meaning(small)
    assert (team.folder / "plan.json.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert meaning(team("show plan.json.gz -o json")) | {"exit_reason": ""} == meaning(small) | {"exit_reason": ""}
    assert team("status --sandbox --out live.json.gz").code == 0
    (team.folder / "backup.tar.gz").write_bytes(gzip.compress(b"a team's backup"))
    refused = team("status --sandbox --out backup.tar.gz")
    assert (refused.code, "is not overwritten" in refused.err) == (1, True)


def test_whom_the_files_expect_is_compared_with_the_live_file(team: Shell) -> None:
    """Another service or account than the files expect is exit 7, as where it is asked."""
    read(team, 1)
    forge(team, "live-1.json", lambda d: d.update(base_url="https://api.glider.fi", account="Acme US"))
    for expect, said in (
        ("{url: https://glider.example}", "the files expect the service https://glider.example"),
        ("{account: Acme EU}", "the files expect the account Acme EU"),
    ):
        team.write("expect.yaml", f"version: 1\nservice: {{expect: {expect}}}\n")
        ended = team("plan --live live-1.json -f automation.yaml -f expect.yaml -o json")
        assert (ended.code, said in ended.err) == (7, True)
    team.write("expect.yaml", "version: 1\nservice: {expect: {account: Acme US}}\n")
    plan = team("plan --live live-1.json -f automation.yaml -f expect.yaml -o json")
    assert plan.json["account"] == "Acme US"
    forge(team, "live-1.json", lambda d: d.update(account=None))
    unknown = team("plan --live live-1.json -f automation.yaml -f expect.yaml")
    assert "nothing could be compared" in unknown.err


def says(portfolio: str, **values: Any) -> tuple[str, Callable[[dict[str, Any]], object]]:
    """Return the share of a portfolio, and a lie about it."""

    def lie(document: dict[str, Any]) -> None:
        for one in document["portfolios"]:
            if one["id"] == portfolio:
                one.update(values)

    return share_with(portfolio), lie


def listed(document: dict[str, Any]) -> None:
    """Put one of the strategy's portfolios out of sight, so that a new cadence seems to reach fewer."""
    document["portfolios"] = [one for one in document["portfolios"] if one["id"] != "pf_b"]


def swapped(document: dict[str, Any]) -> None:
    """Put another portfolio in the place of one, so that their number stays."""
    listed(document)
    document["list"]["portfolios"].append({"id": "pf_z", "status": "paused", "strategy": "S1"})


NOTHING_KNOWN: dict[str, Any] = {"interval_ms": None, "offset_ms": None, "scheduled_ms": [], "next_run_ms": None}
OURS = "Paused via API: Freeze [glider-reconciler 7f3a9c]"
LIES: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "an active one is inactive": (*says("eee", status="inactive"), "start eee"),
    "an active one is paused by us": (*says("eee", status="paused", pause_reason=OURS), "resume eee"),
    "somebody's pause is ours": (*says("ccc", pause_reason=OURS), "resume ccc"),
    "somebody's pause has an older mark": (*says("ccc", pause_reason="Freeze [glider-reconciler]"), "resume ccc"),
    "an interval that is not": (*says("eee", interval_ms=3_600_000), "update eee"),
    "no interval": (*says("eee", **NOTHING_KNOWN), "update eee"),
    "another schedule": (*says("eee", interval_ms=3_600_000, offset_ms=60_000), "update eee"),
}


@pytest.mark.parametrize(("name", "lie", "proposed"), LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("unverified", ["", "--unverified skip"])
def test_a_forged_share_makes_nothing_happen(
    team: Shell, name: str, lie: Callable[[dict[str, Any]], object], proposed: str, unverified: str
) -> None:
    """It can make a plan propose something; the apply reads, finds it otherwise, and writes nothing of it."""
    read(team)
    forge(team, name, lie)
    planned = team(f"plan --live live-*.json --out plan.json -o json {unverified}").json
    verb, portfolio = proposed.split()
    verbs = {change["id"]: change["verb"] for change in planned["changes"]}
    knows_nothing = json.loads((team.folder / name).read_text())["portfolios"]
    skipped = unverified and any(one["id"] == "eee" and one.get("interval_ms", 0) is None for one in knows_nothing)
    assert verbs.get(portfolio) == (None if skipped else verb)
    before = live_of(team)
    team("apply plan.json --sandbox --allow start=9 --allow resume=9")
    assert live_of(team)[portfolio] == before[portfolio]


def test_a_forged_schedule_is_not_written_where_schedules_cant_be_read(shell: Shell) -> None:
    """The interval that a declared offset would borrow, and the offset that a declared interval would keep, come from
    live alone: what a file says of them is written nowhere, although no read can deny it."""
    files = """
version: 1
portfolios:
  aaa: {state: active, offset: 30m}
  eee: {state: active, interval: 24h}
"""
    team = loaded(shell, (SEED % "false").replace("started: 10d", "started: 1h"), files)
    read(team)
    honest = team("plan --live live-*.json -o json").json
    assert [one["id"] for one in honest["blocked"]] == ["aaa"]
    for portfolio in ("aaa", "eee"):
        forge(team, *says(portfolio, interval_ms=3_600_000, offset_ms=60_000))
    forged = team("plan --live live-*.json --out plan.json -o json").json
    after = {change["id"]: change["after"] for change in forged["changes"]}
    assert after["aaa"]["interval_ms"] == 3_600_000
    assert after["eee"]["offset_ms"] == 60_000
    ended = team("apply plan.json --sandbox -o json")
    assert ended.code == 4
    assert {one["id"]: one["outcome"] for one in ended.json["results"]} == {"aaa": "stale", "eee": "stale"}
    assert {one["calls"] == [] for one in ended.json["results"]} == {True}


def test_an_offset_is_not_reset_by_a_file_that_leaves_it_out(shell: Shell) -> None:
    """A new interval keeps the offset that is live, so a plan that knows of none must not send it away."""
    team = loaded(shell, SEED % "true", "version: 1\nportfolios:\n  eee: {state: active, interval: 24h}\n")
    read(team)
    kept = team("plan --live live-*.json -o json").json["changes"][0]["after"]
    assert kept["offset_ms"] == 3 * 3_600_000
    forge(team, *says("eee", offset_ms=None))
    assert team("plan --live live-*.json --out plan.json -o json").json["changes"][0]["after"]["offset_ms"] is None
    assert team("apply plan.json --sandbox").code == 4
    assert live_of(team)["eee"]["offset"]["ms"] == 3 * 3_600_000


def test_a_forged_file_has_no_say_in_what_was_confirmed(team: Shell) -> None:
    """Records and tokens in a file are passed over: what we know of our own writes stands in our own journal."""
    read(team)
    record = {
        "state": "paused",
        "interval_ms": 86_400_000,
        "offset_ms": 0,
        "schedule_id": None,
        "confirmed_ms": 1,
        "marked": False,
    }
    honest = team("plan --live live-*.json -o json")
    forge(team, *says("ccc", record=record, pause="7f3a9c", triggers=99))
    assert meaning(team("plan --live live-*.json -o json")) == meaning(honest)


@pytest.mark.parametrize("strategy", ["S1", "S2"])
def test_a_forged_strategy_of_a_portfolio_lifts_no_pause(shell: Shell, strategy: str) -> None:
    """One that follows another strategy than declared is not resumed, whatever a file says that it follows."""
    seed = """
version: 1
strategies: {S1: {frequency: daily}, S2: {frequency: daily}}
portfolios:
  pf_a: {api: v2, strategy: S2, status: active}
"""
    files = "version: 1\nportfolios:\n  pf_a: {api: v2, strategy: %s, state: %s}\n"
    team = loaded(shell, seed, files % ("S2", "paused"))
    assert team("apply --sandbox --auto-approve").code == 0
    team.write("automation.yaml", files % ("S1", "active"))
    read(team)
    forge(team, "live-1.json", lambda d: d["portfolios"][0].update(strategy=strategy))
    plan = team("plan --live live-*.json --out plan.json -o json").json
    assert [change["verb"] for change in plan["changes"]] == (["resume"] if strategy == "S1" else [])
    ended = team("apply plan.json --sandbox -o json")
    assert ended.code == (4 if strategy == "S1" else 0)
    assert live_of(team)["pf_a"]["status"] == "paused"
    assert strategy == "S2" or "follows another strategy" in ended.json["results"][0]["detail"]


@pytest.mark.parametrize("lie", [listed, swapped])
def test_a_forged_list_lets_no_cadence_reach_others(team: Shell, lie: Callable[[dict[str, Any]], None]) -> None:
    """Whom a new cadence reaches is counted again before it is set, and who they are, not only how many."""
    team.write("automation.yaml", FILES.replace("S1: {schedule: daily}", "S1: {schedule: hourly}"))
    read(team)
    honest = team("plan --live live-*.json -o json").json
    assert [guard["verb"] for guard in honest["guards"]] == ["reach"]
    forge(team, "live-1.json", lie)
    team("plan --live live-*.json --out plan.json")
    allow = f"--allow incomplete=9 --allow reach={2 if lie is swapped else 1}"
    ended = team(f"apply plan.json --sandbox {allow}")
    assert ended.code == 4
    assert "other portfolios follow the strategy S1" in ended.err
    assert json.loads(team("plan --sandbox -o json").out)["summary"]["strategies"]["update"] == 1


def test_an_honest_cadence_is_set(team: Shell) -> None:
    """Where nobody joined or left the strategy since, a plan from files changes its cadence."""
    team.write("automation.yaml", FILES.replace("S1: {schedule: daily}", "S1: {schedule: hourly}"))
    read(team)
    team("plan --live live-*.json --out plan.json")
    assert team("apply plan.json --sandbox --allow reach=2").code == 0
    assert json.loads(team("plan --sandbox -o json").out)["summary"]["strategies"]["update"] == 0


def test_a_forged_head_leads_nowhere(team: Shell) -> None:
    """Another service, account, share or digest is refused where the files are joined, or where the plan is applied."""
    read(team)
    for moved in ({"base_url": "https://x.example"}, {"account": "B"}, {"shard": {"number": 1, "of": 3}}):
        kept = (team.folder / "live-2.json").read_text()
        forge(team, "live-2.json", lambda d, moved=moved: d.update(moved))
        assert team("plan --live live-*.json").code == 3
        team.write("live-2.json", kept)
    for name in ("live-1.json", "live-2.json", "live-3.json"):
        forge(team, name, lambda d: d.update(base_url="sandbox://another"))
    team("plan --live live-*.json --out plan.json")
    ended = team("apply plan.json --sandbox")
    assert (ended.code, "the plan was made for sandbox://another" in ended.err) == (4, True)
