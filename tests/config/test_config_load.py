"""From files to the desired state: layers, several files, limits, where values come from, and what is said."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from reconciler.config.explain import trace
from reconciler.config.files import MAX_FILE_BYTES
from reconciler.config.load import load_configuration
from reconciler.core.diagnostics import Severity
from reconciler.core.errors import ConfigInvalid, UsageError
from reconciler.core.guards import Guards, Limit
from reconciler.core.model import Desired, Layered, Origin, Paths, PortfolioId, RunState
from reconciler.core.text import HOUR_MS
from tests.config.support import TODAY, load_files, load_text, no_stdin, problems, said

EXAMPLE = """\
version: 1
defaults:
  interval: 24h
  owner: treasury
groups:
  mainnet:
    chain: ethereum
    interval: 36h
portfolios:
  b7k2m9q1:
    state: paused
    reason: Liquidity event
    until: 2026-12-01
  ao04x0r6:
    name: Growth index
    group: mainnet
    state: active
    interval: 48h
    offset: 90m
    hold: override
    run_on_start: true
guards:
  max_start: 5
  max_resume: 10%
service:
  paths: guide
"""


def test_a_shared_schedule_has_its_line() -> None:
    """The nearest layer that declares the interval is named, and none where the portfolio declares its own."""
    files = (
        "version: 1\ndefaults:\n  interval: 24h\ngroups:\n  fast:\n    interval: 2h\n  plain: {chain: ethereum}\n"
        "portfolios:\n  a: {state: active, group: fast}\n  b: {state: active, group: plain}\n"
        "  c: {state: active, group: fast, interval: 3h}\n  d: {state: active, api: v2}\n"
    )
    origins = {name: one.origin for name, one in load_text(files).desired.items()}
    assert {name: str(one.schedule) for name, one in origins.items() if one is not None} == {
        "a": "group fast, <stdin>:6",
        "b": "defaults, <stdin>:3",
        "c": "None",
        "d": "None",
    }


def test_layers_are_laid_over_one_another() -> None:
    """A portfolio's own value wins over its group's, and that over the defaults'; the result is sorted by id."""
    configuration = load_text(EXAMPLE)
    assert list(configuration.desired.values()) == [
        Desired(
            id=PortfolioId("ao04x0r6"), state=RunState.ACTIVE, interval_ms=48 * HOUR_MS, offset_ms=90 * 60_000,
            name="Growth index", group="mainnet", chain="ethereum", owner="treasury", hold_override=True,
            run_on_start=True, origin=Origin("<stdin>", 14),
        ),
        Desired(
            id=PortfolioId("b7k2m9q1"), state=RunState.PAUSED, interval_ms=24 * HOUR_MS, reason="Liquidity event",
            until="2026-12-01", owner="treasury", origin=Origin("<stdin>", 10, Layered("defaults", "<stdin>", 3)),
        ),
    ]  # fmt: skip
    assert list(configuration.desired) == ["ao04x0r6", "b7k2m9q1"]
    assert configuration.guards == Guards(max_start=Limit("5", count=5), max_resume=Limit("10%", percent=10.0))
    assert configuration.paths is Paths.GUIDE
    assert configuration.files == ("<stdin>",)
    assert configuration.warnings == ()


def test_what_is_not_declared_is_not_managed() -> None:
    """Without interval and offset there is nothing to compare; settings have safe defaults."""
    configuration = load_text("version: 1\nportfolios: {a: {state: active}}\n")
    assert configuration.desired[PortfolioId("a")].interval_ms is None
    assert configuration.desired[PortfolioId("a")].offset_ms is None
    assert configuration.desired[PortfolioId("a")].run_on_start is False
    assert (configuration.guards, configuration.paths) == (Guards(), Paths.AUTO)


def test_files_merge_by_section() -> None:
    """Defaults, groups, guards and portfolios may lie in different files, found below a directory."""
    files = {
        "automation/a.yaml": "version: 1\ndefaults: {interval: 24h}\nguards: {max_start: 1}\n",
        "automation/deep/b.yml": "version: 1\ndefaults: {offset: 1h}\ngroups: {g: {chain: base}}\n",
        "automation/c.yaml": "version: 1\nguards: {max_pause: 2}\nportfolios: {p: {state: active, group: g}}\n",
        "automation/.hidden.yaml": "nonsense",
        "automation/.git/x.yaml": "nonsense",
        "automation/notes.txt": "nonsense",
    }
    configuration = load_files(files, "automation")
    assert configuration.files == ("automation/a.yaml", "automation/c.yaml", "automation/deep/b.yml")
    (portfolio,) = configuration.desired.values()
    assert (portfolio.interval_ms, portfolio.offset_ms, portfolio.chain) == (24 * HOUR_MS, HOUR_MS, "base")
    assert configuration.guards == Guards(max_start=Limit("1", count=1), max_pause=Limit("2", count=2))


def test_what_two_files_declare_is_an_error_that_names_both() -> None:
    """Of a portfolio, group, default, guard or setting that stands in two files, neither wins."""
    text = (
        "version: 1\ndefaults: {interval: 24h}\ngroups: {g: {chain: base}}\n"
        "portfolios: {p: {state: active}}\nguards: {max_start: 1}\nservice: {paths: auto}\n"
    )
    with pytest.raises(ConfigInvalid) as caught:
        load_files({"a.yaml": text, "b.yaml": text})
    assert said(list(caught.value.diagnostics)) == [
        f"b.yaml:{line}: {address}: this is declared a second time; the first is at a.yaml:{first}; "
        "remove one of the two"
        for line, address, first in [
            ("2:12", "defaults.interval", "2:12"),
            ("3:10", "groups.g", "3:10"),
            ("4:14", "portfolios.p", "4"),
            ("5:10", "guards.max_start", "5:10"),
            ("6:11", "service.paths", "6:11"),
        ]
    ]


HEAD = "version: 1\nportfolios:\n"
SENTENCES = {
    "no state": (HEAD + "  a: {}\n", "3:3: portfolios.a: `state` is missing; write `state: active` or `state: paused`"),
    "state on": (HEAD + "  a: {state: on}\n", "3:14: portfolios.a.state: `on` is not a state; write `active` or"),
    "state true": (HEAD + "  a: {state: true}\n", "3:14: portfolios.a.state: `true` is not a state; write `active` or"),
    "inactive": (HEAD + "  a: {state: inactive}\n", "`inactive` is not a state; write `active` or `paused`"),
    "empty value": (HEAD + "  a:\n    state:\n", "4:5: portfolios.a.state: there is no value; write `active` or"),
    "clock": (HEAD + "  a: {state: active, interval: 9:30}\n", "interval: `9:30` is not a duration; write 9h30m"),
    "octal": (
        HEAD + "  a: {state: active, interval: 012}\n",
        "`012` is not a duration; write it with a unit, such as 12h",
    ),
    "words": (HEAD + "  a: {state: active, interval: 2 Hours}\n", "`2 Hours` is not a duration; write 2h"),
    "decimal": (HEAD + "  a: {state: active, interval: 1.5h}\n", "`1.5h` is not a duration; write 90m"),
    "month": (HEAD + "  a: {state: active, interval: 1 month}\n", "write days, such as 30d: months and years have no"),
    "small": (
        HEAD + "  a: {state: active, interval: 24}\n",
        "24ms is below the minimum of 1h; did you mean 24h? A bare number is milliseconds",
    ),
    "short": (HEAD + "  a: {state: active, interval: 59m}\n", "3:32: portfolios.a.interval: 59m is below the minimum"),
    "long": (HEAD + "  a: {state: active, interval: 366d}\n", "interval: 366d is above the maximum of 365d"),
    "negative": (HEAD + "  a: {state: active, offset: -1}\n", "an offset can't be negative; write `0s` or more"),
    "offset alone": (HEAD + "  a: {state: active, offset: 366d}\n", "366d is longer than any interval may be"),
    "offset": (
        HEAD + "  a: {state: active, interval: 2h, offset: 2h}\n",
        "3:44: portfolios.a.offset: the offset 2h is not below the interval 2h; write an offset of less than 2h",
    ),
    "ethereum": (
        HEAD + "  a: {state: active, chain: ethereum, interval: 23h}\n",
        "3:49: portfolios.a.interval: the interval 23h is below 24h, the minimum on ETH mainnet; write an interval of",
    ),
    "chain 1": (HEAD + "  a: {state: active, chain: '1', interval: 23h}\n", "below 24h, the minimum on ETH mainnet"),
    "chain number": (HEAD + "  a: {state: active, chain: 1}\n", '`1` is not a chain; put it in quotes: "1"'),
    "chain case": (HEAD + "  a: {state: active, chain: Ethereum}\n", "`Ethereum` is not a chain; write `ethereum`"),
    "unknown key": (
        HEAD + "  a: {state: active, intervall: 1h}\n",
        "3:22: portfolios.a.intervall: unknown key `intervall`; did you mean `interval`?",
    ),
    "other word": (HEAD + "  a: {state: active, runOnStart: true}\n", "`runOnStart`; did you mean `run_on_start`?"),
    "far word": (HEAD + "  a: {state: active, xyz: true}\n", "unknown key `xyz`; remove it; known here: name, group,"),
    "yes": (HEAD + "  a: {state: active, run_on_start: yes}\n", "`yes` is not true or false; write `true`"),
    "hold": (HEAD + "  a: {state: active, hold: overide}\n", "`overide` is not a word that `hold` knows; did you mean"),
    "until": (
        HEAD + "  a: {state: active, until: 1.12.2026}\n",
        "`1.12.2026` is not a date; write year, month and day",
    ),
    "no such day": (HEAD + "  a: {state: active, until: 2026-02-30}\n", "`2026-02-30` is not a day of the calendar"),
    "mark": (HEAD + "  a: {state: paused, reason: '[glider-reconciler]'}\n", "the mark that our own pauses carry"),
    "number as text": (HEAD + "  a: {state: paused, name: 12}\n", 'not text; put it in quotes: "12"'),
    "two lines": (
        HEAD + "  a:\n    state: paused\n    name: |\n      x\n",
        "5:11: portfolios.a.name: the text holds a line",
    ),
    "blank": (HEAD + "  a: {state: paused, name: ' '}\n", "the text is blank; write something, or leave the line out"),
    "long text": (
        HEAD + f"  a: {{state: paused, name: {'x' * 201}}}\n",
        "the text is 201 characters long; write at most",
    ),
    "mapping": (HEAD + "  a: {state: {}}\n", "3:7: portfolios.a.state: a mapping stands where a state is expected"),
    "list": (HEAD + "  a: [active]\n", "portfolios.a: a list is not a mapping; indent its fields under it"),
    "id": (HEAD + "  ../x: {state: active}\n", "3:3: portfolios.../x: `../x` is not a portfolio id; copy the id from"),
    "id with an ending": (HEAD + '  "a\\n": {state: active}\n', "is not a portfolio id"),
    "group name": ("version: 1\ngroups: {a b: {}}\n", "2:10: groups.a b: `a b` is not the name of a group"),
    "no group": (
        "version: 1\ngroups: {mainnet: {}}\nportfolios: {a: {state: active, group: mainet}}\n",
        "3:40: portfolios.a.group: the group `mainet` is not declared; did you mean `mainnet`?",
    ),
    "state below": ("version: 1\ndefaults: {state: active}\n", "`state` is never inherited: write it at the portfolio"),
    "name below": (
        "version: 1\ngroups: {g: {name: x}}\n",
        "`name` belongs to one portfolio: write it at the portfolio",
    ),
    "top": ("version: 1\ninterval: 1h\n", "2:1: interval: unknown key `interval`; indent it under `defaults`, a group"),
    "portfolio on top": ("version: 1\nao04x0r6: {state: active}\n", "`ao04x0r6`; indent it under `portfolios`"),
    "base URL": (
        "version: 1\nservice: {base_url: 'https://x'}\n",
        "files never say where the key goes, GLIDER_BASE_URL",
    ),
    "key": ("version: 1\napi_key: gldr_sk_1\n", "2:1: api_key: unknown key `api_key`; remove it; the key is read from"),
    "a quoted merge key": (HEAD + '  a: {state: active, "<<": {}}\n', "portfolios.a.<<: unknown key `<<`; remove it"),
    "no version": ("portfolios: {a: {state: active}}\n", "1:1: `version` is missing; write `version: 1`"),
    "version 2": ("version: 2\n", "1:10: version: `2` is not a version that this program reads; write `version: 1`"),
    "version text": (
        "version: '1'\n",
        "1:10: version: `1` is not a version that this program reads; remove the quotes",
    ),
    "version true": ("version: true\n", "1:10: version: `true` is not a version that this program reads"),
    "paths": ("version: 1\nservice: {paths: guid}\n", "`guid` is not a family of paths; did you mean `guide`?"),
    "limit": (
        "version: 1\nguards: {max_start: 110%}\n",
        "`110%` is not a limit; write a number such as `5`, or a share",
    ),
    "negative limit": ("version: 1\nguards: {max_start: -1}\n", "`-1` is negative; write 0 or more"),
    "no portfolios": ("version: 1\nportfolios: {}\n", "portfolios: no portfolios are declared in 1 file; declare at"),
    "section empty": ("version: 1\nportfolios:\n", "2:1: portfolios: there is no value; write `portfolios:` with one"),
}  # fmt: skip


@pytest.mark.parametrize("case", SENTENCES)
def test_each_problem_is_said_once_with_place_and_repair(case: str) -> None:
    """One mistake is one diagnostic: its place, its address, what is wrong and how to repair it."""
    text, expected = SENTENCES[case]
    (found,) = said(problems(text))
    assert expected in found
    assert found.startswith(expected) or ": " not in expected[:8] or not expected[0].isdigit()


def test_every_problem_is_reported_at_once_and_in_order() -> None:
    """Problems of reading, of the schema, of layers and of several files come in one list, sorted by place."""
    files = {
        "b.yaml": "version: 1\ndefaults: {interval: 1m}\nportfolios:\n  a: {state: on, until: 2026-02-30}\n  b: *x\n",
        "a.yaml": "version: 1\nportfolios:\n  c: {state: active, group: nowhere, offset: 9d, interval: 8d}\n",
        "c.yaml": "a: [",
    }
    with pytest.raises(ConfigInvalid) as caught:
        load_files(files)
    assert [str(d.span) for d in caught.value.diagnostics] == [
        "a.yaml:3:29", "a.yaml:3:46", "b.yaml:2:22", "b.yaml:4:14", "b.yaml:4:25", "b.yaml:5:6", "c.yaml:2:1",
    ]  # fmt: skip


def test_a_problem_of_a_layer_is_said_once_there() -> None:
    """A thousand portfolios that inherit one mistake do not repeat it a thousand times."""
    portfolios = "".join(f"  p{number}: {{state: active, group: g}}\n" for number in range(1000))
    text = "version: 1\ndefaults: {interval: 12h}\ngroups: {g: {chain: ethereum}}\nportfolios:\n" + portfolios
    assert said(problems(text)) == [
        (
            "3:21: groups.g.chain: the interval 12h is below 24h, the minimum on ETH mainnet "
            "(the interval is from defaults, <stdin>:2:22); write an interval of 24h or more"
        ),
    ]


def test_diagnostics_carry_their_line() -> None:
    """The excerpt is the line as written, and the span marks the words in it."""
    (found,) = problems(HEAD + "  a: {state: active, interval: 9:30}  # why\n")
    assert found.excerpt == "  a: {state: active, interval: 9:30}  # why"
    assert found.span is not None
    assert found.excerpt[found.span.column - 1 :][: found.span.width] == "9:30"


@pytest.mark.parametrize("line", ["api_key: gldr_sk_live_1", "note: GLDR_SK_1", "password: hunter2"])
def test_a_line_that_may_hold_a_secret_is_not_shown(line: str) -> None:
    """A key that somebody put into a file is in no message."""
    for found in problems(f"version: 1\n{line}\n"):
        assert line.partition(": ")[2] not in str(found)
        assert found.excerpt is None


def test_warnings_do_not_stop() -> None:
    """A date that has passed, and a name that is taken for ETH mainnet, are said and passed by."""
    text = "version: 1\ngroups: {g: {chain: mainnet}}\nportfolios: {a: {state: paused, until: 2026-11-21, group: g}}\n"
    warnings = load_text(text).warnings
    assert said(list(warnings)) == [
        (
            "2:21: groups.g.chain: the chain `mainnet` does not turn on the minimum interval of ETH mainnet; "
            "write `ethereum` if that is meant"
        ),
        (
            "3:40: portfolios.a.until: the date 2026-11-21 has passed, and a decision is due; "
            "change `state`, move the date, or remove it; nothing is resumed by itself"
        ),
    ]
    assert {warning.severity for warning in warnings} == {Severity.WARNING}
    assert load_text(text.replace("11-21", "11-22").replace("mainnet", "base")).warnings == ()


def test_explain_names_the_layer_of_every_field() -> None:
    """Every field of a portfolio is listed with its effective value and where that stands."""
    found = trace("ao04x0r6", ["-"], stdin=EXAMPLE.encode, today=TODAY, cwd=Path("/"))
    assert [(one.field, one.value, one.layer, str(one.span or "").removeprefix("<stdin>:")) for one in found] == [
        ("name", "Growth index", "portfolio", "15:11"),
        ("group", "mainnet", "portfolio", "16:12"),
        ("state", "active", "portfolio", "17:12"),
        ("api", "", "not declared", ""),
        ("strategy", "", "not declared", ""),
        ("chain", "ethereum", "group mainnet", "7:12"),
        ("interval", "48h", "portfolio", "18:15"),
        ("offset", "90m", "portfolio", "19:13"),
        ("reason", "", "not declared", ""),
        ("until", "", "not declared", ""),
        ("hold", "override", "portfolio", "20:11"),
        ("run_on_start", "true", "portfolio", "21:19"),
        ("owner", "treasury", "defaults", "4:10"),
        ("labels", "", "not declared", ""),
        ("costs", "", "not declared", ""),
        ("silence", "", "not declared", ""),
    ]
    with pytest.raises(UsageError, match="not declared") as caught:
        trace("ao04x0r", ["-"], stdin=EXAMPLE.encode, today=TODAY, cwd=Path("/"))
    assert caught.value.detail == "Did you mean ao04x0r6?"


def test_the_digest_is_of_names_and_bytes() -> None:
    """The digest changes with every byte and every name, and with nothing else."""
    text = "version: 1\nportfolios: {a: {state: active}}\n"
    digest = load_files({"a.yaml": text}).digest
    assert len(digest) == 64
    assert load_files({"a.yaml": text}, "a.yaml", "./a.yaml").digest == digest
    assert load_files({"b.yaml": text}).digest != digest
    assert load_files({"a.yaml": text + "#\n"}).digest != digest


def test_the_collector_is_as_it_was() -> None:
    """Loading leaves garbage collection as it found it, also after an error."""
    assert gc.isenabled()
    problems("version: 2\n")
    assert gc.isenabled()
    gc.disable()
    try:
        load_text(EXAMPLE)
        assert not gc.isenabled()
    finally:
        gc.enable()


VALID = "version: 1\nportfolios: {a: {state: active}}\n"


@pytest.mark.parametrize(
    ("present", "sources", "names"),
    [
        (["automation.yaml"], [], ["automation.yaml"]),
        (["automation/x.yml"], [], ["automation/x.yml"]),
        (["x.yaml"], ["x.yaml", "x.yaml"], ["x.yaml"]),
        (["t/x.yaml", "t/skip.txt"], ["t/*.y*ml"], ["t/x.yaml"]),
        (["t/u/x.yaml"], ["**/x.yaml"], ["t/u/x.yaml"]),
        (["t/u/x.yaml"], ["t", "t/u/x.yaml", "t/*"], ["t/u/x.yaml"]),
        (["[x].yaml"], ["[x].yaml"], ["[x].yaml"]),
        (["x.txt"], ["x.txt"], ["x.txt"]),
    ],
)
def test_sources_lead_to_files(present: list[str], sources: list[str], names: list[str]) -> None:
    """Files, directories and globs are found, each file once, by the name a person would give it."""
    files = dict.fromkeys(present, VALID)
    if sources:
        assert list(load_files(files, *sources).files) == names
    else:
        assert list(load_files({**files}, *names).files) == names


def test_without_sources_the_usual_places_are_read(tmp_path: Path) -> None:
    """automation.yaml and automation/ are both read where both are: nothing is passed over in silence."""
    (tmp_path / "automation").mkdir()
    (tmp_path / "automation.yaml").write_text(VALID)
    (tmp_path / "automation/b.yaml").write_text(VALID.replace("a:", "b:"))
    configuration = load_configuration([], stdin=no_stdin, today=TODAY, cwd=tmp_path)
    assert configuration.files == ("automation.yaml", "automation/b.yaml")


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        (
            [],
            (
                "there is neither automation.yaml nor automation/ in the working directory; name the files with -f, "
                "or write a first one by `reconciler init`"
            ),
        ),
        (["x.yaml"], "x.yaml matches no file; check the path given with -f"),
        (["*.yaml"], "*.yaml matches no file; check the path given with -f"),
        (["a\0b"], "a\\u{0}b matches no file; check the path given with -f"),
        (["empty"], "empty holds no *.yaml or *.yml file; check the path given with -f"),
        (["big.yml"], "big.yml is larger than 8 MiB; split it; files merge by section"),
        (["linked"], "linked/to is a link to a directory, and is not followed; name it with -f, or remove the link"),
    ],
)
def test_a_source_that_leads_nowhere_is_an_error(tmp_path: Path, sources: list[str], sentence: str) -> None:
    """No input is never read as nothing to do."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a.yaml").write_text(VALID)
    (tmp_path / "linked/to").symlink_to(tmp_path / "empty")
    (tmp_path / "big.yml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigInvalid) as caught:
        load_configuration(sources, stdin=no_stdin, today=TODAY, cwd=tmp_path)
    assert said(list(caught.value.diagnostics)) == [sentence]


def test_a_directory_can_hold_no_file_that_is_one(tmp_path: Path) -> None:
    """A file that can't be read is an error that names it."""
    (tmp_path / "x.yaml").symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(ConfigInvalid) as caught:
        load_configuration(["."], stdin=no_stdin, today=TODAY, cwd=tmp_path)
    assert said(list(caught.value.diagnostics)) == ["x.yaml can't be read: No such file or directory"]
