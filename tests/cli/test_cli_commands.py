"""The commands as a user meets them: what they print, where, and what they exit with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import CANARY
from tests.support import timeless

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def last_line(text: str) -> str:
    return text.rstrip("\n").rsplit("\n", 1)[-1]


def test_plan_apply_plan(shell: Shell) -> None:
    """The main job: plan shows it, apply does it, the second plan has only the held one left."""
    first = shell("plan --sandbox")
    assert first.code == 0
    assert first.out.endswith(
        "Plan: 1 to start, 1 to resume, 1 to pause, 0 to update. 0 unchanged, 1 held, 0 blocked.\n"
    )
    applied = shell("apply --sandbox --auto-approve")
    assert applied.code == 0
    assert "Apply: 3 done, 0 already done, 0 stale, 0 failed, 0 unknown, 0 not attempted." in applied.out
    again = shell("plan --sandbox --detailed-exitcode")
    assert again.code == 0
    assert again.out.endswith(
        "Plan: 0 to start, 0 to resume, 0 to pause, 0 to update. 3 unchanged, 1 held, 0 blocked.\n"
    )


def test_detailed_exitcode(shell: Shell) -> None:
    """Changes exit 2 only when asked for."""
    assert shell("plan --sandbox").code == 0
    ended = shell("plan --sandbox --detailed-exitcode -o json")
    assert (ended.code, ended.json["exit_reason"]) == (2, "changes")


def test_a_held_portfolio_is_released_by_name(shell: Shell) -> None:
    """--resume-held lets one go, and the plan says whose pause it overrides."""
    plan = shell("plan --sandbox --resume-held ccc -o json").json
    assert plan["held"] == []
    assert [c["risks"] for c in plan["changes"] if c["id"] == "ccc"] == [["hold_overridden", "trades_again"]]
    assert shell("plan --sandbox --resume-held nobody").code == 64


def test_selection(shell: Shell) -> None:
    """Targets narrow; a target that is not declared is wrong usage and never an empty plan."""
    plan = shell("plan --sandbox --target aaa -o json").json
    assert [change["id"] for change in plan["changes"]] == ["aaa"]
    assert plan["selection"]["targets"] == ["aaa"]
    ended = shell("plan --sandbox --target aab")
    assert ended.code == 64
    assert "Did you mean 'aaa'?" in ended.err


def test_options_may_stand_before_the_command(shell: Shell) -> None:
    """Shared options mean the same before and after the command."""
    before = shell("-o json --sandbox=.reconciler/sandbox.db --target aaa plan").json
    after = shell("plan -o json --sandbox .reconciler/sandbox.db --target aaa").json
    assert timeless(before) == timeless(after)
    assert shell("--sandbox plan").code == 0


def test_saved_plan(shell: Shell) -> None:
    """plan --out, show and apply speak of the same plan; the same file twice writes nothing the second time."""
    planned = shell("plan --sandbox --out plan.json")
    assert shell("show plan.json").out == planned.out
    assert shell("apply plan.json --sandbox").code == 0
    assert shell("apply plan.json --sandbox -o json").json["summary"]["already_done"] == 3


@pytest.mark.parametrize(
    ("damage", "code", "sentence"),
    [
        (lambda text: text.replace('"verb": "pause"', '"verb": "resume"'), 3, "does not match its fingerprint"),
        (lambda text: text[: len(text) // 2], 3, "not a saved plan"),
        (lambda text: text.replace('"3.1"', '"4.0"'), 3, "format version 4.0"),
        (lambda text: text.replace('"3.1"', '"2.0"'), 3, "format version 2.0"),
        (lambda text: "[]", 3, "not a saved plan"),
        (lambda text: "[" * 100_000, 3, "not a saved plan"),
        (lambda text: text.replace("null", "7"), 3, "not a saved plan"),
    ],
    ids=["edited", "cut", "newer", "older", "other json", "nested", "other types"],
)
def test_a_plan_file_that_is_not_one(shell: Shell, damage: object, code: int, sentence: str) -> None:
    """An edited, cut or foreign plan is refused with a sentence, before any request."""
    shell("plan --sandbox --out plan.json")
    shell.write("plan.json", damage((shell.folder / "plan.json").read_text()))  # type: ignore[operator]
    ended = shell("apply plan.json --sandbox -o json")
    assert ended.code == code
    assert sentence in ended.err
    assert ended.json["errors"][0]["problem"]


def test_a_plan_of_another_service_is_stale(shell: Shell) -> None:
    """A plan binds to the service it was made for; after a reset the sandbox is another one."""
    shell("plan --sandbox --out plan.json")
    shell("sandbox reset")
    ended = shell("apply plan.json --sandbox")
    assert ended.code == 4
    assert "the plan was made for sandbox://" in ended.err


def test_guards(shell: Shell) -> None:
    """Over a guard nothing is written, exit 5, and the flag with the number is named; with it, it runs."""
    text = (shell.folder / "automation.yaml").read_text() + "guards: {max_start: 0}\n"
    shell.write("automation.yaml", text)
    assert "over a guard: 1 to start" in shell("plan --sandbox").err
    ended = shell("apply --sandbox --auto-approve -o json")
    assert (ended.code, ended.json["exit_reason"]) == (5, "guard")
    assert "--allow start=1" in ended.err
    assert shell("plan --sandbox -o json").json["summary"]["pause"] == 1
    assert shell("apply --sandbox --auto-approve --allow start=1").code == 0


@pytest.mark.parametrize("value", ["resume", "resume=", "resume=x", "fly=3", "resume=-1"])
def test_allow_is_checked(shell: Shell, value: str) -> None:
    """A mistyped --allow is wrong usage."""
    assert shell(f"apply --sandbox --auto-approve --allow {value}").code == 64


def test_unverified_policies(shell: Shell) -> None:
    """What can't be known is written, skipped or refused, as asked."""
    text = (
        (shell.folder / "automation.yaml")
        .read_text()
        .replace("bbb: {state: active}", "bbb: {state: active, interval: 24h}")
    )
    shell.write("automation.yaml", text)

    def bbb(policy: str) -> dict[str, object]:
        plan = shell(f"plan --sandbox --target bbb --unverified {policy} -o json").json
        return (plan["changes"] or plan["blocked"])[0]

    assert bbb("write")["writes_schedule"] is True
    assert bbb("skip")["writes_schedule"] is False
    assert bbb("fail")["reason"] == "unverified"
    assert shell("plan --sandbox --target bbb --unverified fail").code == 1


def test_validate(shell: Shell) -> None:
    """A good file says what it holds; a bad one exits 3 with every problem, as text and as JSON."""
    assert shell("validate").out == "Valid: 4 portfolios in 1 file.\n"
    assert shell("validate -o json").json["portfolios"] == 4
    shell.write("automation.yaml", "version: 1\nportfolios:\n  aaa: {state: on, intervall: 24h}\n")
    bad = shell("validate")
    assert bad.code == 3
    assert bad.out == ""
    assert "automation.yaml:3:16: portfolios.aaa.state:" in bad.err
    assert "did you mean" in bad.err.lower()
    errors = shell("validate -o json").json["errors"]
    assert [(e["line"], e["address"]) for e in errors] == [(3, "portfolios.aaa.state"), (3, "portfolios.aaa.intervall")]


def test_status(shell: Shell) -> None:
    """The live table has a row a portfolio and says how the schedule is known."""
    ended = shell("status --sandbox")
    assert ended.code == 0
    assert "24h (observed)" in ended.out
    assert "4 portfolios: 1 active, 1 inactive, 2 paused." in ended.out
    rows = {row["id"]: row for row in shell("status --sandbox -o json").json["portfolios"]}
    assert rows["aaa"]["interval"] == {"ms": 86_400_000, "provenance": "observed"}
    assert rows["ccc"]["pause_reason"] == "Paused from the app"


def test_schema_is_json(shell: Shell) -> None:
    """The printed schema is the published one."""
    assert json.loads(shell("schema").out)["$schema"].startswith("https://json-schema.org/draft/2020-12")


def test_explain(shell: Shell) -> None:
    """Each value names the layer and the place it comes from."""
    shell.write(
        "automation.yaml",
        "version: 1\ndefaults: {interval: 24h}\ngroups: {g: {offset: 90m}}\n"
        "portfolios:\n  aaa: {state: active, group: g}\n",
    )
    out = shell("explain aaa").out
    assert "24h" in out
    assert "defaults" in out
    assert "automation.yaml:3" in out
    assert shell("explain aax").code == 64
    assert {f["field"]: f["layer"] for f in shell("explain aaa -o json").json["fields"]}["offset"] == "group g"


def test_explain_of_a_v2_portfolio(shell: Shell) -> None:
    """It names the strategy, and what that one declares with its place."""
    shell.write(
        "automation.yaml",
        "version: 1\nportfolios:\n  pf1: {state: active, api: v2, strategy: momentum}\n"
        "strategies:\n  momentum: {schedule: weekly}\n",
    )
    rows = [line.split() for line in shell("explain pf1").out.splitlines()]
    assert ["strategy", "momentum", "portfolio", "automation.yaml:3:43"] in rows
    assert ["strategy.schedule", "weekly", "strategy", "automation.yaml:5:24"] in rows


def test_sandbox_clock(shell: Shell) -> None:
    """The sandbox's clock moves ahead, and runs happen."""
    before = {r["id"]: r["runs"] for r in shell("status --sandbox -o json").json["portfolios"]}
    assert "72h ahead" in shell("sandbox advance 3d").out
    after = {r["id"]: r["runs"] for r in shell("status --sandbox -o json").json["portfolios"]}
    assert after["aaa"] == before["aaa"] + 3
    assert shell("sandbox advance soon").code == 64


FAILING = {
    "no such command": ("plam -o json", 64, "usage"),
    "no such option": ("plan --colour -o json", 64, "usage"),
    "letters in one token": ("plan --colour -qo json", 64, "usage"),
    "no space": ("plan -ojson --colour", 64, "usage"),
    "an equals sign": ("plan --parallelism many --output=json", 64, "usage"),
    "before the command": ("-vqo json plan --colour", 64, "usage"),
    "before no command": ("-ojson plam", 64, "usage"),
    "letters in one token, no files": ("plan --sandbox -f nothing.yaml -qo json", 3, "invalid"),
    "bad choice": ("plan --unverified maybe -o json", 64, "usage"),
    "no terminal": ("apply --sandbox -o json", 64, "usage"),
    "no files": ("plan --sandbox -f nothing.yaml -o json", 3, "invalid"),
    "no sandbox": ("plan --sandbox other.db -o json", 1, "error"),
    "no http": ("plan --base-url http://example.com -o json", 64, "usage"),
    "unreachable": ("plan --target aaa --base-url http://127.0.0.1:9 -o json", 8, "unreachable"),
    "no journal": ("plan --sandbox --journal automation.yaml -o json", 1, "error"),
    "no plan file": ("apply missing.json --sandbox -o json", 3, "invalid"),
    "options with a saved plan": ("apply plan.json --sandbox --target aaa -o json", 64, "usage"),
    "bad select": ("plan --sandbox --select group -o json", 64, "usage"),
    "no such group": ("plan --sandbox --select group=x -o json", 64, "usage"),
}


@pytest.mark.parametrize(("line", "code", "reason"), FAILING.values(), ids=FAILING)
def test_json_on_every_path(shell: Shell, line: str, code: int, reason: str) -> None:
    """However a command ends, stdout holds one JSON document that says why, and stderr a sentence."""
    ended = shell(line)
    assert (ended.code, ended.json["exit_reason"]) == (code, reason)
    assert "Traceback" not in ended.err
    assert ended.err.strip()


def test_no_key(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key it exits 7 and says where the key goes."""
    monkeypatch.delenv("GLIDER_API_KEY")
    ended = shell("plan -o json")
    assert (ended.code, ended.json["exit_reason"]) == (7, "permission")
    assert "GLIDER_API_KEY is not set" in ended.err


def test_no_output_holds_the_key(shell: Shell) -> None:
    """The key is in no stream and no file, whatever is run."""
    lines = [
        "plan --sandbox -v --out plan.json",
        "apply --sandbox --auto-approve -v",
        "status --sandbox",
        "plan --target aaa --base-url http://127.0.0.1:9 -v",
        "plan --target aaa --base-url http://127.0.0.1:9 -o json",
        "plan --base-url nonsense -v",
    ]
    for line in lines:
        ended = shell(line)
        assert CANARY not in ended.out + ended.err
    for path in shell.folder.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes()


@pytest.mark.parametrize("command", ["", "validate", "plan", "apply", "show", "status", "explain", "schema", "sandbox"])
def test_help_teaches(shell: Shell, command: str) -> None:
    """Every command has help with an example, and the group's line of it is the command's own first line."""
    ended = shell(f"{command} --help")
    assert ended.code == 0
    assert f"reconciler {command}" in ended.out


@pytest.mark.parametrize("command", ["plan", "drift", "status"])
def test_a_service_that_is_down_is_one_row(shell: Shell, command: str) -> None:
    """Also for the portfolios that were not asked for any more, and with the words of those that were."""
    many = "".join(f"  p{number:02}: {{state: active, interval: 24h}}\n" for number in range(30))
    shell.write("many.yaml", f"version: 1\nportfolios:\n{many}")
    ended = shell(f"{command} -f many.yaml")
    (row,) = [line for line in ended.out.splitlines() if "no connection to http://127.0.0.1:9" in line]
    assert "30 portfolios" in row
    assert "not sent" not in ended.out
