"""The command import: what is live comes out as YAML, and nothing that is there gets lost."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell
    from tests.golden import Golden

SEED = """
version: 1
strategies:
  own: {frequency: daily, name: Momentum}
  theirs: {frequency: weekly, owner: foreign}
portfolios:
  aaa: {status: active, interval: 24h, started: 10d, name: "Growth: no. 1"}
  bbb: {status: paused, interval: 24h, pause_reason: "Paused via API: Freeze [glider-reconciler]"}
  ccc: {status: paused, interval: 24h, pause_reason: Paused from the app}
  "012": {status: inactive}
  ddd: {status: archived}
  eee: {status: active, word: odd}
  pf1: {api: v2, status: active, strategy: own, name: 'yes'}
  pf2: {api: v2, status: paused, strategy: own}
  pf3: {api: v2, status: active, strategy: theirs}
  pf4: {api: v2, status: inactive, strategy: own}
"""
UNDECLARED = "Plan: 0 to start, 0 to resume, 0 to pause, 0 to update. {} unchanged, 0 held, 0 blocked."


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """A sandbox with portfolios of both APIs, and no files."""
    return bare.holding(SEED)


def test_the_yaml_goes_to_stdout_and_the_rest_to_stderr(fleet: Shell, golden: Golden) -> None:
    """Without a file, stdout holds YAML that says how each value is known and what is left out; stderr says it too."""
    ended = fleet("import aaa bbb ccc 012 ddd --all --names --sandbox")
    assert ended.code == 0
    golden("import", "what is left out", ended.out + ended.err)
    assert "left out: ddd (v1): archived\n" in ended.err
    assert "7 portfolios and 1 strategy imported: 3 active, 4 paused. 2 left out." in ended.err


def test_a_plan_right_after_is_empty_and_nothing_is_overwritten(fleet: Shell) -> None:
    """What --out saved declares what is live; a second import to the same file is refused before anything is read."""
    assert fleet("import aaa bbb ccc 012 --all --out automation.yaml --sandbox").code == 0
    before = (fleet.folder / "automation.yaml").read_bytes()
    planned = fleet("plan --sandbox --fail-on unmanaged -o json")
    assert planned.json["summary"]["no_op"] == 7
    assert planned.json["changes"] == planned.json["held"] == planned.json["blocked"] == []
    assert [one["id"] for one in planned.json["unmanaged"]] == ["pf4"]
    again = fleet("import aaa --out automation.yaml --base-url https://127.0.0.1:1")
    assert again.code == 1
    assert "is there already, and is not overwritten" in again.err
    assert (fleet.folder / "automation.yaml").read_bytes() == before
    assert sorted(path.name for path in fleet.folder.iterdir() if path.name.endswith(".tmp")) == []


def test_what_is_declared_is_left_alone(fleet: Shell) -> None:
    """Ids that the files declare are not read and not written; when all are, nothing is to do."""
    fleet.write("automation.yaml", "version: 1\nportfolios:\n  aaa: {state: paused}\n")
    ended = fleet("import aaa bbb --sandbox -o json")
    assert ended.code == 0
    assert [one["id"] for one in ended.json["portfolios"]] == ["bbb"]
    assert ended.json["declared_already"] == ["aaa"]
    assert "bbb:" in ended.json["yaml"]
    assert "aaa" not in ended.json["yaml"]
    nothing = fleet("import aaa --sandbox --out new.yaml")
    assert (nothing.code, nothing.out) == (0, "")
    assert "1 declared already, and left alone" in nothing.err
    assert not (fleet.folder / "new.yaml").exists()


def test_into_keeps_what_is_there(fleet: Shell) -> None:
    """--into adds to a file: every line of it stays, its permissions and its link too, and the plan is empty."""
    text = "# ours\nversion: 1\nportfolios:\n    aaa: {state: active}   # first\n    # of nobody\n\n# end\n"
    fleet.write("real.yaml", text)
    (fleet.folder / "real.yaml").chmod(0o640)
    (fleet.folder / "automation.yaml").symlink_to("real.yaml")
    ended = fleet("import bbb --all --into automation.yaml --sandbox")
    assert ended.code == 0, ended.err
    added = (fleet.folder / "real.yaml").read_text()
    rest = iter(added.splitlines())
    assert all(line in rest for line in text.splitlines())
    assert "    # of nobody\n    bbb:  # interval not known" in added
    assert (fleet.folder / "automation.yaml").is_symlink()
    assert stat.S_IMODE((fleet.folder / "real.yaml").stat().st_mode) == 0o640
    assert UNDECLARED.format(5) in fleet("plan --sandbox").out


def test_defaults_of_the_files_stand_in_the_way_of_what_is_not_known(fleet: Shell) -> None:
    """A portfolio that would inherit an interval nobody knows it has is left out, and that is an error."""
    fleet.write("automation.yaml", "version: 1\ndefaults: {interval: 6h}\nportfolios:\n  zzz: {state: paused}\n")
    ended = fleet("import aaa bbb --into automation.yaml --sandbox")
    assert ended.code == 1
    assert "left out: bbb (v1): the defaults of the files would give it their interval" in ended.err
    added = (fleet.folder / "automation.yaml").read_text()
    assert "  aaa:  # interval observed, offset not known\n    state: active\n    interval: 24h\n" in added
    assert "  bbb:" not in added


def test_into_keeps_labels(fleet: Shell) -> None:
    """Labels of the files stay, and what is added has those of the defaults."""
    text = "version: 1\ndefaults: {labels: {team: fx}}\nportfolios:\n  aaa: {state: active, labels: {tier: '1'}}\n"
    fleet.write("automation.yaml", text)
    assert fleet("import bbb --into automation.yaml --sandbox").code == 0
    assert (fleet.folder / "automation.yaml").read_text().startswith(text)
    chosen = [fleet(f"plan --sandbox --select {term} -o json").json for term in ("team=fx", "tier!=1")]
    assert [plan["summary"]["no_op"] for plan in chosen] == [2, 1]


def test_into_leaves_to_the_defaults_what_they_say(fleet: Shell) -> None:
    """A new entry does not repeat an owner or a release of the defaults, which would outlive them there."""
    fleet.write(
        "automation.yaml", "version: 1\ndefaults: {owner: desk, hold: override}\nportfolios:\n  aaa: {state: active}\n"
    )
    assert fleet("import bbb ccc --into automation.yaml --sandbox").code == 0
    added = (fleet.folder / "automation.yaml").read_text(encoding="utf-8").partition("aaa")[2]
    assert "bbb" in added
    assert [word for word in ("owner", "hold") if word in added] == []
    told = fleet("explain bbb").out.splitlines()
    assert ["owner", "desk", "defaults"] in [line.split()[:3] for line in told]


def test_into_names_a_group_that_means_the_same(fleet: Shell) -> None:
    """A group that the files have is used again; one of that name that means something else is not."""
    more = "".join(f"  m{n}: {{status: active, interval: {24 if n < 3 else 12}h, started: 30d}}\n" for n in range(6))
    fleet.holding(SEED + more)
    groups = "groups:\n  calm:\n    interval: 1d\n  every-12h:\n    interval: 36h\n"
    fleet.write("automation.yaml", f"version: 1\n{groups}portfolios:\n  aaa:\n    state: active\n")
    assert fleet("import m0 m1 m2 m3 m4 m5 --into automation.yaml --sandbox").code == 0
    added = (fleet.folder / "automation.yaml").read_text()
    assert (added.count("group: calm"), added.count("group: every-12h-2")) == (3, 3)
    assert f"{groups}  every-12h-2:\n    interval: 12h\nportfolios:\n" in added
    assert UNDECLARED.format(7) in fleet("plan --sandbox").out


def test_into_fills_a_file_that_declares_nothing_yet(fleet: Shell) -> None:
    """A file of guards and defaults alone is filled, and stays as it was otherwise."""
    fleet.write("automation.yaml", "version: 1\nguards: {max_start: 1}\n")
    assert fleet("import aaa --all --into automation.yaml --sandbox").code == 0
    assert (
        (fleet.folder / "automation.yaml").read_text().startswith("version: 1\nguards: {max_start: 1}\n\nstrategies:\n")
    )
    assert UNDECLARED.format(4) in fleet("plan --sandbox").out


def test_names_of_v1_are_read_when_asked_for(fleet: Shell) -> None:
    """--names reads one by one; without it, nothing is asked and v2 names are there all the same."""
    found = fleet("import aaa --all --sandbox -o json").json["portfolios"]
    assert [one["name"] for one in found] == [None, "yes", None, None]
    named = fleet("import aaa --all --names --sandbox -o json").json["portfolios"]
    assert [one["name"] for one in named] == ["Growth: no. 1", "yes", None, None]


def test_a_section_in_braces_is_left_as_it_is(fleet: Shell) -> None:
    """Where lines can't be added, nothing is written and the error says what to do."""
    text = "version: 1\nportfolios: {aaa: {state: active}}\n"
    fleet.write("automation.yaml", text)
    ended = fleet("import bbb --into automation.yaml --sandbox")
    assert ended.code == 1
    assert "in braces" in ended.err
    assert (fleet.folder / "automation.yaml").read_text() == text


def test_what_could_not_be_read_is_named_and_the_rest_is_written(fleet: Shell) -> None:
    """Not found, or a word that is not known: exit 1, named on stderr, in the YAML and in the document."""
    ended = fleet("import aaa eee zzz --sandbox")
    assert ended.code == 1
    assert "  #   zzz (v1): v1 has no such portfolio, or the key may not see it\n" in ended.out
    assert "warning: left out: eee (v1): Glider reports 'odd', which this version does not know\n" in ended.err
    found = fleet("import aaa eee zzz --sandbox -o json").json
    assert found["exit_reason"] == "error"
    assert [(one["id"], one["reason"]) for one in found["left_out"]] == [
        ("eee", "unknown_status"),
        ("zzz", "not_found"),
    ]


def test_nothing_at_all_is_no_success(fleet: Shell) -> None:
    """Where nothing could be imported there is no YAML, and the exit code says why: an id, or the service."""
    ended = fleet("import zzz --sandbox")
    assert (ended.code, ended.out) == (1, "")
    assert fleet("import ddd --sandbox").code == 1
    shown = fleet("import zzz --base-url http://127.0.0.1:9 -o json")
    assert (shown.code, shown.json["exit_reason"], shown.json["yaml"]) == (8, "unreachable", None)


def test_a_list_that_may_not_be_read_is_told(fleet: Shell) -> None:
    """Ids are imported although the list of v2 is refused; exit 1, and the file says that there may be more."""
    fleet.holding("settings: {scopes: ['portfolios:write']}" + SEED)
    ended = fleet("import aaa --all --sandbox")
    assert ended.code == 1
    assert "  # The list of v2 portfolios ended early, so there may be more of them: " in ended.out
    assert fleet("import --all --sandbox").code == 7


def test_ids_come_from_a_file_or_stdin(fleet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """One id a line, with comments and blank lines; every line that is none is named."""
    fleet.write("ids.txt", "# ours\naaa   # first\n\nbbb\naaa\n")
    assert [one["id"] for one in fleet("import --ids-from ids.txt --sandbox -o json").json["portfolios"]] == [
        *("aaa", "bbb")
    ]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"pf1\r\npf3\r\n")))
    found = fleet("import --ids-from - --api v2 --sandbox -o json").json
    assert [(one["id"], one["api"]) for one in found["portfolios"]] == [("pf1", "v2"), ("pf3", "v2")]
    fleet.write("bad.txt", "aaa\n../x\nb b\n")
    wrong = fleet("import --ids-from bad.txt --sandbox")
    assert wrong.code == 64
    assert "line 2: '../x', line 3: 'b b'" in wrong.err
    fleet.write("none.txt", "# nobody\n")
    assert "holds no portfolio id" in fleet("import --ids-from none.txt --sandbox").err
    (fleet.folder / "raw.txt").write_bytes(b"\xff\xfe")
    assert fleet("import --ids-from raw.txt --sandbox").code == 1
    assert fleet("import --ids-from missing.txt --sandbox").code == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import", "v1 has no list, so give ids or --ids-from; --all"),
        ("import --api v1", "v1 has no list: give ids"),
        ("import --api v1 --all", "--all takes what v2 lists"),
        ("import ../x", "is not a portfolio id"),
        ("import aaa --out a.yaml --into b.yaml", "drop one of them"),
        ("import aaa --into nowhere.yaml", "there is no such file"),
        ("import aaa --out -", "the YAML goes to stdout"),
        ("import --ids-from - -f -", "both read standard input"),
    ],
)
def test_a_command_line_without_sense_is_refused(fleet: Shell, line: str, said: str) -> None:
    """Wrong usage is 64, and says what to give."""
    ended = fleet(f"{line} --sandbox")
    assert ended.code == 64
    assert said in ended.err


def test_v2_without_ids_is_the_whole_list(fleet: Shell) -> None:
    """--api v2 alone means --all; who names an id says by which API it is managed."""
    everything = fleet("import --all --sandbox -o json").json["portfolios"]
    assert fleet("import --api v2 --sandbox -o json").json["portfolios"] == everything
    both = SEED.replace("  pf1: {api: v2, ", "  pf1: {api: both, interval: 24h, ")
    fleet.holding(both)
    found = fleet("import pf1 --all --sandbox -o json").json["portfolios"]
    assert [(one["id"], one["api"]) for one in found] == [("pf1", "v1"), ("pf2", "v2"), ("pf3", "v2")]


def test_ids_that_nobody_declares_are_of_the_api_of_the_defaults(fleet: Shell) -> None:
    """Where the files are of v2, ids need no --api; --api v1 still means v1."""
    fleet.write("automation.yaml", "version: 1\ndefaults: {api: v2}\nportfolios:\n  pf2: {state: paused}\n")
    ended = fleet("import pf1 --into automation.yaml --sandbox")
    assert ended.code == 0, ended.err
    assert '  pf1:\n    name: "yes"\n    state: active\n' in (fleet.folder / "automation.yaml").read_text()
    assert UNDECLARED.format(2) in fleet("plan --sandbox").out
    found = fleet("import aaa --api v1 --sandbox -o json").json["portfolios"]
    assert [(one["id"], one["api"]) for one in found] == [("aaa", "v1")]
    shown = fleet("status pf3 --sandbox -o json")
    assert (shown.code, shown.json["portfolio"]["api"]) == (0, "v2")
    assert fleet("status aaa --api v1 --sandbox -o json").json["portfolio"]["api"] == "v1"


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, env=environment)


def _mixed() -> dict[str, Any]:
    """Return a seed of 200: 120 on v1 and 80 on v2, running, paused by us and by hand, and never started."""
    portfolios: dict[str, Any] = {}
    for n in range(120):
        hours = (24, 24, 24, 12, 48)[n % 5]
        seed: dict[str, Any] = {"status": "active", "interval": f"{hours}h", "started": "30d"}
        if n % 10 == 7:
            seed = {"status": "inactive"}
        elif n % 10 == 8:
            reason = "Paused via API: Freeze [glider-reconciler]" if n % 20 == 8 else "Paused from the app"
            seed |= {"status": "paused", "pause_reason": reason}
        portfolios[f"v1p{n:03}"] = seed | {"name": f"No: {n}" if n % 3 else "yes"}
    for n in range(80):
        portfolios[f"pf{n:03}"] = {
            "api": "v2",
            "status": "paused" if n % 8 == 3 else "active",
            "strategy": ("momentum", "calm", "theirs")[n % 3],
            "name": f"Ünï #{n}",
        }
    strategies = {
        "momentum": {"frequency": "hourly"},
        "calm": {"frequency": "weekly"},
        "theirs": {"frequency": "daily", "owner": "foreign"},
    }
    return {"version": 1, "strategies": strategies, "portfolios": portfolios}


@pytest.mark.slow
def test_two_hundred_mixed_portfolios_come_under_git(fleet: Shell) -> None:
    """An undeclared fleet of 200: covered by nothing, imported, plan empty; an edit by Git, planned and applied."""
    seed = _mixed()
    fleet.holding(json.dumps(seed))
    fleet.write("ids.txt", "".join(f"{name}\n" for name in seed["portfolios"] if name.startswith("v1")))
    uncovered = fleet("coverage --ids-from ids.txt --fail-on unmanaged --sandbox -o json")
    assert (uncovered.code, len(uncovered.json["unmanaged"])) == (1, 200)

    assert fleet("import --ids-from ids.txt --all --names --out automation.yaml --sandbox").code == 0
    planned = fleet("plan --detailed-exitcode --fail-on unmanaged --sandbox")
    assert planned.code == 0
    assert UNDECLARED.format(200) in planned.out
    assert fleet("coverage --ids-from ids.txt --fail-on unmanaged --sandbox").code == 0
    _git(fleet.folder, "init", "-q", "-b", "main")
    _git(fleet.folder, "add", "automation.yaml")
    _git(fleet.folder, "commit", "-q", "-m", "Import")

    file = fleet.folder / "automation.yaml"
    text = file.read_text()
    assert text.count("group: every-24h") > 50
    # One edit of a group, one of a portfolio, one of a strategy.
    text = text.replace("  every-48h:\n    interval: 48h", "  every-48h:\n    interval: 72h")
    head, entry, rest = text.partition("  pf000:\n")
    text = head + entry + rest.replace("state: active", "state: paused\n    reason: Audit", 1)
    text = text.replace("schedule: weekly", "schedule: daily")
    file.write_text(text)
    _git(fleet.folder, "commit", "-q", "-a", "-m", "Edit")

    changed = fleet("plan --base HEAD~1 --sandbox --out plan.json -o json").json
    assert changed["summary"]["pause"] == 1
    assert changed["summary"]["update"] == text.count("group: every-48h")
    assert {change["cause"] for change in changed["changes"]} == {"branch"}
    applied = fleet("apply plan.json --sandbox --allow reach=200")
    assert applied.code == 0, applied.err
    assert UNDECLARED.format(200) in fleet("plan --detailed-exitcode --sandbox").out


def test_a_first_import_makes_its_folder(shell: Shell) -> None:
    """Where nothing is yet, or only the empty folder, --out automation/x.yaml works and validate finds the file."""
    (shell.folder / "automation.yaml").unlink()
    (shell.folder / "automation").mkdir()
    assert shell("import aaa ddd --out automation/all.yaml --sandbox").code == 0
    assert shell("validate").code == 0
    (shell.folder / "automation" / "all.yaml").unlink()
    (shell.folder / "automation").rmdir()
    assert shell("import aaa ddd --out automation/all.yaml --sandbox").code == 0
    assert shell("validate").code == 0
