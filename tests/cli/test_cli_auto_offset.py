"""``offset: auto`` from the plan to the file that the next one compares with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

NAMES = [f"pf{number:02}" for number in range(14)]


def test_a_plan_previews_what_it_spreads(shell: Shell) -> None:
    """The plan shows each number beside the word, folds what is alike, and is empty once it was applied."""
    shell.write("seed.yaml", "version: 1\nportfolios:\n" + "".join(f"  {i}: {{status: inactive}}\n" for i in NAMES))
    files = "version: 1\ndefaults: {interval: 24h, offset: auto}\nguards: {max_start: 100%}\nportfolios:\n"
    shell.write("automation.yaml", files + "".join(f"  {i}: {{state: active}}\n" for i in NAMES))
    assert shell("sandbox load seed.yaml").code == 0
    shown = shell("plan --sandbox --target pf01").out
    assert "pf01  every 24h, offset 15h30m (auto), 1 run a day" in shown
    change = shell("plan --sandbox --target pf01 -o json").json["changes"][0]
    assert (change["after"]["offset_ms"], change["auto_offset"]) == (930 * 60_000, True)
    done = shell("apply --sandbox --auto-approve").out
    assert "every 24h, offset auto, 1 run a day" in done
    assert "14 unchanged" in shell("plan --sandbox").out
