"""v2 portfolios at the command line: both APIs in one plan, what nobody declared, scopes, a run that was cut off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journal import open_journal
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, PortfolioId
from tests.apply.scripted import intent

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SEED = """
version: 1
SETTINGS
strategies:
  S1: {frequency: daily}
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  eee: {api: v2, strategy: S1, status: active, name: Growth}
  fff: {api: v2, strategy: S1, status: paused}
  ggg: {api: v2, strategy: S1, status: inactive}
UNDECLARED
"""
FILES = """
version: 1
groups:
  enrolled: {api: v2}
portfolios:
  aaa: {state: paused}
  eee: {group: enrolled, state: paused, reason: Liquidity event}
  fff: {group: enrolled, state: paused}
"""
UNDECLARED = "".join(
    f"  z{number:02}: {{api: v2, strategy: S1, status: active, name: Forgotten {number}}}\n" for number in range(12)
)


@pytest.fixture
def mixed(bare: Shell) -> Shell:
    """A folder whose files declare both APIs, and a sandbox that holds a portfolio beyond them."""
    return bare.holding(seed(), FILES)


def seed(settings: str = "", undeclared: str = "") -> str:
    return SEED.replace("SETTINGS", settings).replace("UNDECLARED", undeclared)


def test_plan_apply_resume(mixed: Shell) -> None:
    """One plan and one apply for both; a resume of ours says what it makes due, and happens."""
    applied = mixed("apply --sandbox --auto-approve")
    assert applied.code == 0
    assert "Apply: 2 done" in applied.out
    assert "3 unchanged" in mixed("plan --sandbox").out
    mixed.write(
        "automation.yaml", FILES.replace("eee: {group: enrolled, state: paused", "eee: {group: enrolled, state: active")
    )
    plan = mixed("plan --sandbox")
    assert "every 24h, paused by us, makes a rebalance due at once" in plan.out
    change = mixed("plan --sandbox -o json").json["changes"][0]
    assert (change["api"], change["verb"], change["risks"]) == ("v2", "resume", ["trades_again", "due_at_once"])
    assert "due at once" in mixed("plan --sandbox -o markdown").out
    assert mixed("apply --sandbox --auto-approve").code == 0
    assert "0 to resume" in mixed("plan --sandbox").out


def test_a_saved_plan_knows_its_apis(mixed: Shell) -> None:
    """Without the files, each change still goes to its own API."""
    assert mixed("plan --sandbox --out plan.json").code == 0
    assert "eee" in mixed("show plan.json").out
    mixed.write("automation.yaml", "version: 1\nportfolios: {aaa: {state: paused}}\n")
    applied = mixed("apply plan.json --sandbox")
    assert applied.code == 0
    assert "Apply: 2 done" in applied.out


def test_what_nobody_declared_is_counted_and_named(mixed: Shell) -> None:
    """Up to ten, all with -v; sorted; left alone; the last line stays what it is."""
    mixed.holding(seed(undeclared=UNDECLARED))
    plan = mixed("plan --sandbox")
    assert "13 portfolios on v2 are not declared, and left alone.\n  ggg" in plan.out
    assert re.search(r"\n  z08  Forgotten 8  active +strategy S1\n  … and 3 more; -v lists them\n", plan.out)
    assert plan.out.rstrip().rsplit("\n", 1)[-1].startswith("Plan: 0 to start, ")
    assert "z11  Forgotten 11" in mixed("plan --sandbox -v").out
    document = mixed("plan --sandbox -o json").json
    assert [one["id"] for one in document["unmanaged"]] == ["ggg", *(f"z{number:02}" for number in range(12))]
    assert document["unmanaged"][0]["status"] == "no_schedule"
    assert (document["listing"], document["summary"]["unmanaged"]) == ("complete", 13)


def test_fail_on_unmanaged(mixed: Shell) -> None:
    """Exit 1 where there is any, or where nobody can know; 0 where everything is declared."""
    found = mixed("plan --sandbox --fail-on unmanaged -o json")
    assert (found.code, found.json["exit_reason"]) == (1, "error")
    assert "--fail-on unmanaged: portfolios are live that no file declares" in found.err
    some = mixed("plan --sandbox --fail-on unmanaged --target eee")
    assert (some.code, "only some portfolios are selected" in some.err) == (1, True)
    mixed.write("automation.yaml", FILES + "  ggg: {group: enrolled, state: paused}\n")
    assert mixed("plan --sandbox --fail-on unmanaged --exclude ggg").code == 1
    declared = mixed("plan --sandbox --fail-on unmanaged")  # ggg has no schedule, which is all that paused asks for
    assert (declared.code, "--fail-on" in declared.err) == (0, False)
    mixed.write("automation.yaml", FILES + "  ggg: {group: enrolled, state: active}\n")
    blocked = mixed("plan --sandbox --fail-on unmanaged")
    assert (blocked.code, "--fail-on" in blocked.err) == (1, False)
    mixed.write("automation.yaml", "version: 1\nportfolios: {aaa: {state: paused}}\n")
    of_v1 = mixed("plan --sandbox --fail-on unmanaged")
    assert (of_v1.code, "v1 lists none" in of_v1.err) == (1, True)


def test_a_key_that_may_only_read_can_plan(mixed: Shell) -> None:
    """And is refused before the first write, with the scope and where to get it; v1 knows no scopes."""
    mixed.holding(seed(settings="settings: {scopes: ['portfolios:read', 'strategies:read']}"))
    assert mixed("plan --sandbox").code == 0
    refused = mixed("apply --sandbox --auto-approve")
    assert refused.code == 7
    assert "the key lacks the scope portfolios:write" in refused.err
    assert "console.glidercloud.dev" in refused.err
    assert "2 to pause" in mixed("plan --sandbox").out
    saved = mixed("plan --sandbox --out plan.json").code, mixed("apply plan.json --sandbox").code
    assert saved == (0, 7)
    assert mixed("apply --sandbox --auto-approve --target aaa").code == 0


def test_a_write_that_was_cut_off_is_settled_by_its_own_api(mixed: Shell) -> None:
    """The journal says which, so a portfolio that has left the files since is found where it was."""
    journal = mixed.folder / ".reconciler" / "journal.db"
    label = mixed("plan --sandbox -o json").json["base_url"]
    with open_journal(journal, base_url=label, now_ms=lambda: 1_795_348_800_000) as opened:
        opened.open_run(fingerprint="x", tool="x")
        for portfolio in ("ggg", "fff"):
            opened.begin(intent(PortfolioId(portfolio), Call.PAUSE, api=ApiVersion.V2))
    applied = mixed("apply --sandbox --auto-approve")
    assert applied.code == 0
    assert "during pause of fff; a read shows it paused, but not that the pause is ours" in applied.err
    assert "during pause of ggg; a read can't tell whether it took effect" in applied.err


def test_status_reads_both(mixed: Shell) -> None:
    """v2 by its list; the cadence of its strategy is shown as read."""
    shown = mixed("status --sandbox -o json")
    assert shown.code == 0
    rows = {row["id"]: row for row in shown.json["portfolios"]}
    assert (rows["eee"]["status"], rows["eee"]["interval"]) == ("active", {"ms": 86_400_000, "provenance": "read"})
    assert rows["fff"]["next_run_at"] is None


def test_drift_of_v2(mixed: Shell) -> None:
    """What is not as declared is found as on v1."""
    found = mixed("drift --sandbox")
    assert found.code == 2
    assert "eee" in found.out
