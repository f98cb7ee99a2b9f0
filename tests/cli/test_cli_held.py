"""What is held at the command line: let go by id, by group or by a file, and made to fail an apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SEED = """
version: 1
strategies:
  S1: {frequency: daily}
portfolios:
  aaa: {api: v2, strategy: S1, status: paused}
  bbb: {api: v2, strategy: S1, status: paused}
  ccc: {status: paused, interval: 24h, pause_reason: Paused from the app}
  ddd: {api: v2, strategy: S1, status: active}
"""
FILES = """
version: 1
guards: {max_resume: 100%}
groups:
  swept: {api: v2}
portfolios:
  aaa: {group: swept, state: active}
  bbb: {group: swept, state: active}
  ccc: {state: active}
  ddd: {group: swept, state: active}
"""


@pytest.fixture
def held(bare: Shell) -> Shell:
    """Three that somebody else paused, two of them in a group."""
    shell = bare.holding(SEED, FILES)
    shell.write("ids.txt", "# checked with Maria\naaa\n\nccc # by hand\n")
    return shell


@pytest.mark.parametrize(
    ("given", "resumed"),
    [
        ("--resume-held bbb", ["bbb"]),
        ("--resume-held group=swept", ["aaa", "bbb"]),
        ("--resume-held @ids.txt", ["aaa", "ccc"]),
        ("--resume-held group=swept --resume-held ccc --resume-held aaa", ["aaa", "bbb", "ccc"]),
        ("--resume-held group=swept --exclude aaa", ["bbb"]),
        ("--resume-held ddd", []),
    ],
)
def test_what_is_let_go(held: Shell, given: str, resumed: list[str]) -> None:
    """By id, by group, by a file; online and from a live file; what is not held is not touched."""
    plan = held(f"plan --sandbox {given} -o json").json
    assert [one["id"] for one in plan["changes"]] == resumed
    assert {one["reason"] for one in plan["changes"]} <= {"hold_overridden"}
    assert held("status --sandbox --out live.json").code == 0
    offline = held(f"plan --live live.json {given} -o json").json
    assert [one["id"] for one in offline["changes"]] == resumed


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("zzz", 64, "--resume-held 'zzz' is not among the selected portfolios\n  These are: aaa, bbb, ccc, ddd."),
        (
            "group=",
            64,
            "--resume-held group=: no selected portfolio is in that group\n  Groups with portfolios: swept.",
        ),
        ("group=other", 64, "--resume-held group=other: no selected portfolio is in that group\n  Groups"),
        ("group=swpt", 64, "--resume-held group=swpt: no selected portfolio is in that group\n  Did you mean 'swept'?"),
        ("aab", 64, "--resume-held 'aab' is not among the selected portfolios\n  Did you mean 'aaa'?"),
        ("state=active", 64, "--resume-held 'state=active' is not among the selected portfolios\n"),
        ("@more.txt", 64, "--resume-held 'zzz' is not among the selected portfolios, one of 2 that are not"),
        ("@odd.txt", 64, "odd.txt holds lines that are not portfolio ids: line 1: '../x'."),
        ("@none.txt", 1, "none.txt holds no portfolio id"),
        ("@gone.txt", 1, "can't read the ids from gone.txt"),
    ],
)
def test_what_nobody_declared_is_wrong_usage(held: Shell, given: str, code: int, said: str) -> None:
    """A name that is mistyped must not read as one that is not held."""
    held.write("more.txt", "aaa\nzzz\nyyy\n")
    held.write("odd.txt", "../x\n")
    held.write("none.txt", "# nobody\n")
    found = held(f"plan --sandbox --resume-held {given}")
    assert (found.code, said in found.err) == (code, True), found.err


def test_an_apply_that_fails_on_held(held: Shell) -> None:
    """Exit 1 while something is held, though all else was done; 0 without the option, and once nothing is held."""
    assert held("apply --sandbox --auto-approve").code == 0
    stopped = held("apply --sandbox --auto-approve --fail-on held --resume-held group=swept")
    assert (stopped.code, "error: --fail-on held: portfolios are held" in stopped.err) == (1, True)
    assert "Apply: 2 done" in stopped.out
    document = held("apply --sandbox --auto-approve --fail-on held -o json")
    assert (document.code, document.json["exit_reason"], document.json["held"]) == (1, "error", ["ccc"])
    assert held("plan --sandbox --out plan.json").code == 0
    assert held("apply plan.json --sandbox --fail-on held").code == 1
    released = held("apply --sandbox --auto-approve --fail-on held --resume-held ccc")
    assert (released.code, "--fail-on" in released.err) == (0, False)
