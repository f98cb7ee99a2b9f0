"""The command coverage: what is live and no file declares, and when a pipeline should stop for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell
    from tests.golden import Golden

SEED = """
version: 1
strategies:
  own: {frequency: daily}
portfolios:
  aaa: {status: active, interval: 24h}
  bbb: {status: paused, interval: 24h, name: By hand}
  pf1: {api: v2, status: active, strategy: own, name: First}
  pf2: {api: v2, status: paused, strategy: own, name: "Two | [x](y)"}
  pf3: {api: v2, status: archived, strategy: own}
"""
FILES = """
version: 1
strategies:
  own: {schedule: daily}
portfolios:
  aaa: {state: active}
  pf1: {state: active, api: v2}
  pf3: {state: active, api: v2}
"""


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """Five portfolios of both APIs, three of them declared; two more lists of v1 ids."""
    bare.write("ids.txt", "aaa\nbbb\n")
    return bare.holding(SEED, FILES)


def test_the_list_of_v2_is_compared(fleet: Shell, golden: Golden) -> None:
    """Unmanaged portfolios are shown with their strategies, and it is said that v1 has no list."""
    ended = fleet("coverage --sandbox")
    assert ended.code == 0
    golden("coverage", "both APIs", ended.out)


def test_named_ids_are_compared(fleet: Shell) -> None:
    """--ids-from reads what is named and not declared; a portfolio that is not there is no success."""
    ended = fleet("coverage --ids-from ids.txt --sandbox -o json")
    assert ended.code == 0
    assert [(one["id"], one["api"], one["status"]) for one in ended.json["unmanaged"]] == [
        ("bbb", "v1", "paused"),
        ("pf2", "v2", "paused"),
    ]
    assert ended.json["v1"] == {"listing": "none", "declared": 1, "named": 2, "not_read": []}
    assert ended.json["v2"]["not_listed"] == ["pf3"]
    assert ended.json["strategies"] == [{"id": "own", "listed": 2, "unmanaged": 1, "declared": True}]
    fleet.write("ids.txt", "zzz\n")
    missing = fleet("coverage --ids-from ids.txt --sandbox -o json")
    assert (missing.code, missing.json["v1"]["not_read"][0]["id"]) == (1, "zzz")
    assert (
        "0 of 1 named portfolio declared, 0 unmanaged, 1 not read" in fleet("coverage --ids-from ids.txt --sandbox").out
    )


def test_a_pipeline_stops_for_unmanaged_ones(fleet: Shell) -> None:
    """--fail-on unmanaged ends as it does for a plan: 1 while something is unmanaged, 0 when all is declared."""
    stopped = fleet("coverage --fail-on unmanaged --sandbox")
    planned = fleet("plan --fail-on unmanaged --sandbox")
    assert stopped.code == planned.code == 1
    said = "error: --fail-on unmanaged: portfolios are live that no file declares"
    assert said in stopped.err
    assert said in planned.err
    fleet.write("automation.yaml", FILES + "  pf2: {state: paused, api: v2}\n")
    assert fleet("coverage --fail-on unmanaged --sandbox").code == 0


def test_without_files_nothing_is_declared(fleet: Shell) -> None:
    """No files where they are looked for: everything is unmanaged. A file that was named must be there."""
    (fleet.folder / "automation.yaml").unlink()
    ended = fleet("coverage --fail-on unmanaged --sandbox -o json")
    assert (ended.code, len(ended.json["unmanaged"])) == (1, 2)
    assert fleet("coverage -f automation.yaml --sandbox").code == 3


def test_a_list_that_cannot_be_read_is_never_full_coverage(fleet: Shell) -> None:
    """Without the list nobody knows: an error with the service's reason, in every format."""
    fleet.holding("settings: {scopes: ['portfolios:write']}" + SEED)
    ended = fleet("coverage --fail-on unmanaged --sandbox")
    assert ended.code == 7
    assert "so there may be more" in ended.out
    assert "error: the list of v2 portfolios ended early" in ended.err
    found = fleet("coverage --sandbox -o json")
    assert (found.code, found.json["v2"]["listing"], found.json["v2"]["not_listed"]) == (7, "incomplete", [])
    assert "> [!WARNING]" in fleet("coverage --sandbox -o markdown").out


def test_markdown_keeps_names_as_text(fleet: Shell) -> None:
    """The page has a sign, the sentences and the table, and a name is no markup."""
    page = fleet("coverage --sandbox -o markdown").out
    assert page.startswith("### ⚠️ Coverage: 1 portfolio live and not declared\n")
    assert "| `pf2` | v2 | Two &#124; \\[x\\](y) | paused | `own` |" in page
    fleet.write("automation.yaml", FILES + "  pf2: {state: paused, api: v2}\n")
    assert fleet("coverage --sandbox -o markdown").out.startswith(
        "### ✅ Coverage: 0 portfolios live and not declared\n"
    )


def test_long_lists_are_folded_on_a_terminal_page(fleet: Shell) -> None:
    """More than fifty are counted, -v shows them all."""
    more = "".join(f"  pg{n:03}: {{api: v2, status: active, strategy: own}}\n" for n in range(80))
    fleet.holding(SEED + more)
    assert "… and 31 more; -v lists them" in fleet("coverage --sandbox").out
    assert fleet("coverage --sandbox -v").out.count("pg0") == 80
