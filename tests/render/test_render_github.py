"""What GitHub gets to read: comment, summary, annotations, log and outputs, whatever the data."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Risk
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.errors import ConfigInvalid, ExitReason, GuardRefused
from reconciler.core.model import PausedBy, Verb
from reconciler.core.plan import Plan
from reconciler.core.text import harmless
from reconciler.render import github
from reconciler.render.annotations import Annotation, Level
from reconciler.render.ending import Ending, Found
from reconciler.render.github import (
    ActionRun,
    annotation_lines,
    comment_body,
    failure,
    harmless_log,
    log_text,
    mask,
    output_values,
    outputs,
    resume_commands,
    shown_annotations,
    stop_commands,
    summary,
    warning,
)
from tests.endings import change, endings, plan_of, problems_of
from tests.githubjudge import Command, alive, obeyed, rendered
from tests.hostile import HOSTILE, LONG

NAMES = [f"{number}-{text[:12]!a}" for number, text in enumerate(HOSTILE)]
TOKEN = "0123456789abcdefABCDEF"
AT_MS = 1_795_348_800_000
RUN = ActionRun(at_ms=AT_MS, commit="0" * 40)
hostile = pytest.mark.parametrize("text", HOSTILE, ids=NAMES)


def bodies(text: str, limit_bytes: int = 10**9) -> dict[str, str]:
    """Return comment and summary of every ending with the text in every place, by default with room for all."""
    found = {}
    for name, ending in endings(text).items():
        run = replace(RUN, looks_at=text, merged="1" * 40, home="https://github.example", number=text, url="https://x")
        found[f"comment of {name}"] = comment_body(ending, run=run, limit_bytes=limit_bytes)
        found[f"summary of {name}"] = summary(ending, limit_bytes=limit_bytes)
    return found


BENIGN = {name: rendered(body).tags for name, body in bodies("Harmless").items()}


def links_aside(found: list[str]) -> list[str]:
    """Return what is alive but for the links to commits and run, which are ours."""
    return [
        one
        for one in found
        if not one.startswith(("<a [('href', 'https://github.example/", "<a [('href', 'https://x'"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        text if text in LONG or number % 4 == 0 else pytest.param(text, marks=pytest.mark.thorough)
        for number, text in enumerate(HOSTILE)
    ],
    ids=NAMES,
)
def test_data_in_comment_and_summary_stays_data(text: str) -> None:
    """Whatever a text holds, the page has the structure that it has with a harmless one, and nothing in it is alive."""
    for name, body in bodies(text).items():
        found = rendered(body)
        assert found.tags == BENIGN[name], name
        assert links_aside(alive(found)) == [], name
    for name, body in bodies(text, limit_bytes=20_000).items():
        assert len(body.encode()) <= 20_000, name
        assert links_aside(alive(rendered(body))) == [], name


@hostile
def test_data_in_annotations_stays_data(text: str) -> None:
    """The runner obeys exactly the annotations, and reads in each property and message what was meant."""
    for ending in endings(text).values():
        meant = [
            *shown_annotations(ending),
            warning(text),
            Annotation(level=Level.NOTICE, title=text, message=text, file=text, line=1, column=2, end_column=3),
        ]
        read = obeyed(annotation_lines(meant))
        assert [command.name for command in read] == [annotation.level.value for annotation in meant]
        for command, annotation in zip(read, meant, strict=True):
            properties = dict(command.properties)
            assert len(properties) == len(command.properties)
            assert properties["title"] == shown(annotation.title)
            assert properties.get("file") == (None if annotation.file is None else shown(annotation.file))
            assert properties.get("line") == (None if annotation.line is None else str(annotation.line))
            assert command.data == shown(annotation.message)


def shown(text: str) -> str:
    return harmless_log(harmless(text, longest=1000))


@hostile
def test_data_in_the_log_is_never_obeyed(text: str) -> None:
    """Between stop and resume nothing is obeyed, and the page of the log finds no command of the older form."""
    log = "".join(harmless_log(part) for part in (text, "\n", text, *map(log_text, endings(text).values())))
    whole = stop_commands(TOKEN) + log + resume_commands(TOKEN)
    assert obeyed(whole) == [Command("stop-commands", (), TOKEN), Command(TOKEN, (), "")]
    assert "##[" not in log


@given(st.text("#[]:x\n"), st.integers(0, 100))
def test_a_log_in_two_pieces_is_as_harmless_as_in_one(text: str, at: int) -> None:
    """Where a stream cuts a text does not matter."""
    assert "##[" not in harmless_log(text[:at]) + harmless_log(text[at:])


@hostile
def test_data_in_outputs_stays_data(text: str) -> None:
    """The runner reads every output as it was, and no other; a value that holds the delimiter is refused."""
    values = {"plan-path": text.encode("utf-8", "replace").decode(), "exit-code": "0"}
    assert read_outputs(outputs(values, delimiter=TOKEN)) == values
    with pytest.raises(ValueError, match="delimiter"):
        outputs({"plan-path": f"{text}\n{TOKEN}\n"}, delimiter=TOKEN)


def read_outputs(file: str) -> dict[str, str]:
    """Return what the runner reads from the file of outputs: a heading with its delimiter, lines up to that alone."""
    found, lines = {}, file.split("\n")
    while lines and (heading := lines.pop(0)):
        name, _, delimiter = heading.partition("<<")
        end = lines.index(delimiter)
        found[name] = "\n".join(lines[:end])
        lines = lines[end + 1 :]
    return found


@pytest.mark.parametrize("word", ["", "short", "EOF", "0123456789abcdef\n", "0123456789abcde:"])
def test_words_that_could_be_guessed_are_refused(word: str) -> None:
    """Neither commands nor outputs take a short or strange word for their token."""
    with pytest.raises(ValueError, match="16 random"):
        stop_commands(word)
    with pytest.raises(ValueError, match="16 random"):
        outputs({}, delimiter=word)


def test_an_output_has_a_name() -> None:
    """A name that would end its own heading is refused."""
    with pytest.raises(ValueError, match="not the name"):
        outputs({"a<<b": ""}, delimiter=TOKEN)


def test_a_mask_hides_each_line_and_never_nothing() -> None:
    """An empty value has no mask: the runner would complain, or hide every character."""
    assert mask("") == mask(" \n") == ""
    assert mask("a%0A\r\nb\na%0A") == "::add-mask::a%250A\n::add-mask::b\n"
    assert [command.data for command in obeyed(mask("a%0A\r\nb"))] == ["a%0A", "b"]


def test_a_comment_says_what_it_is_about() -> None:
    """The verdict stands first, then when, which commit, which run and which plan; addresses lead there."""
    ending = endings()["plan"]
    home = "https://github.com/team/fleet"
    run = ActionRun(
        at_ms=AT_MS, looks_at="production", commit="1" * 40, home=home, number="7", url=f"{home}/actions/runs/9"
    )
    lines = comment_body(ending, run=run).splitlines()
    assert lines[0] == "### ❌ Plan (production): 6 changes, 1 held, 1 blocked, 1 moved, over a guard"
    assert lines[2].startswith(
        f"<sub>2026-11-22 12:00 UTC, commit [`{'1' * 12}`]({home}/commit/{'1' * 40}), run [7]({home}/actions/runs/9), "
        f"fingerprint `{ending.found.fingerprint}`, 9 portfolios"
    )
    merge = comment_body(ending, run=ActionRun(at_ms=AT_MS, commit="1" * 40, merged="2" * 40))
    assert f"commit `{'1' * 12}`, which merges `{'2' * 12}`" in merge


VERDICTS = {
    "validate": "### ❌ Validate: the files or the plan are invalid",
    "valid": "### ⚠️ Validate: 1 warning in the files, 8 portfolios declared",
    "plan": "### ❌ Plan: 6 changes, 1 held, 1 blocked, 1 moved, over a guard",
    "drift": "### ❌ Drift: 1 moved, 5 pending, 1 unverified, 1 held, 1 blocked. 1 as declared",
    "apply": "### ❌ Apply: 1 done, 1 already done, 1 stale, 1 failed, 1 unknown, 1 not attempted, "
    "1 held, 1 blocked, 1 moved",
    "refused": "### ❌ Apply: refused, not what was planned or approved",
    "status": "### ❌ Status: 4 portfolios: 1 active, 1 paused, 1 unknown, 1 unreadable",
    "failed": "### ❌ Action: wrong usage",
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_headline_is_the_verdict(name: str) -> None:
    """One line says how it ended."""
    assert summary(endings()[name]).splitlines()[0] == VERDICTS[name]


def test_every_reason_has_words() -> None:
    """No command can end without a verdict."""
    assert set(github._WORDS) == set(ExitReason)


def test_all_is_well() -> None:
    """Nothing pending, nothing drifted, everything valid: the sign says so."""
    calm = Plan(base_url="u", created_ms=0, config_digest="", config_files=(), selection=plan_of().selection, no_op=3)
    for ending in (
        Ending(reason=ExitReason.OK, found=Found(command="plan", plan=calm)),
        Ending(reason=ExitReason.OK, found=Found(command="drift", plan=calm)),
        Ending(reason=ExitReason.OK, found=Found(command="validate", portfolios=1)),
    ):
        assert summary(ending).startswith("### ✅ ")
        assert shown_annotations(ending) == ()


def test_a_guard_is_told_once() -> None:
    """An apply refused by a guard names the number in its error, and not again above its plan."""
    plan = plan_of()
    error = GuardRefused("the plan is over a guard, nothing was written", f"{plan.over[0]}.")
    body = summary(Ending(reason=ExitReason.GUARD, found=Found(command="apply", plan=plan, error=error)))
    assert body.count("allow it with") == 1


def test_an_apply_cut_short_says_so() -> None:
    """Results are shown, and that a signal ended it."""
    ending = replace(endings()["apply"], reason=ExitReason.INTERRUPTED)
    assert summary(ending).splitlines()[0].endswith(", stopped by a signal")


def test_a_refused_approval_shows_the_difference() -> None:
    """What would run is compared with what was approved, in tables."""
    body = summary(endings()["refused"])
    difference = body.partition("#### What would run, compared with what was approved")[2]
    order = [difference.index(part) for part in ("**Changed** (", "note Value → Growth", "**Look first:**")]
    assert order == sorted(order)


def test_annotations_stand_on_the_lines_that_caused_them() -> None:
    """Blocks and errors are errors; grave risks and holds warnings; other trading is a notice."""
    found = shown_annotations(endings()["plan"])
    assert [(a.level.value, a.file, a.line, a.title) for a in found] == [
        ("error", "automation.yaml", 7, "p00007 is blocked"),
        ("warning", "automation.yaml", 8, "strategy growth changes"),
        ("warning", "automation.yaml", 2, "resume p00002: overrides a hold"),
        ("warning", "automation.yaml", 1, "start p00001: trades at once"),
        ("warning", None, None, "Over a guard"),
        ("warning", "automation.yaml", 6, "p00006 is held"),
        ("warning", "automation.yaml", 9, "p00008 moved to another strategy"),
        ("notice", "automation.yaml", 3, "update p00003: trades more often"),
    ]


def test_what_is_blocked_is_a_warning_where_the_step_passes() -> None:
    """An error on a step that passed would be looked for in vain; the line and the words are the same."""
    failing, passing = (shown_annotations(endings()["plan"], passes=passes) for passes in (False, True))
    warned = [replace(one, level=Level.WARNING) for one in failing if one.level is Level.ERROR]
    assert warned
    assert [one for one in passing if one.level is Level.ERROR] == []
    assert all(one in passing for one in warned)


def test_what_people_wrote_is_not_reworded() -> None:
    """A reason and a name that look like options of ours stay as written, on the page, in the log, in annotations."""
    ending = endings()["plan"]
    plan = ending.found.plan
    assert plan is not None
    [held] = plan.held
    said = replace(held, name="the --base fund", pause_reason="see --target x", paused_by=PausedBy.OTHERS)
    told = replace(ending, found=replace(ending.found, plan=replace(plan, held=(said,))))
    for text in (summary(told), log_text(told), str([one.message for one in shown_annotations(told)])):
        assert "see --target x" in text.replace("\\", "")
        assert "`target" not in text
    assert "the --base fund" in log_text(told)
    assert "`resume-held: ID`" in summary(told)


def test_what_an_apply_did_is_no_risk_any_more() -> None:
    """After an apply only what did not come out as planned, is blocked or held is worth a remark."""
    titles = [annotation.title for annotation in shown_annotations(endings()["apply"])]
    assert titles[:3] == ["resume p00002: unknown", "update p00003: failed", "p00007 is blocked"]
    assert "start p00001: trades at once" not in titles


def test_an_annotation_covers_what_is_wrong() -> None:
    """Line, column and the end of a problem reach GitHub; the folder of the files comes before their name."""
    span = SourceSpan("a,b.yaml", 3, 5, 4)
    problem = Diagnostic(Severity.ERROR, "bad: 100%", "repair it", "portfolios.x", span)
    ending = Ending(reason=ExitReason.INVALID, found=Found(command="validate", error=ConfigInvalid((problem,))))
    assert annotation_lines(shown_annotations(ending), prefix="live/") == (
        "::error file=live/a%2Cb.yaml,line=3,col=5,endLine=3,endColumn=9,title=portfolios.x::bad: 100%25; repair it\n"
    )


def test_at_most_ten_of_a_level_and_the_rest_counted() -> None:
    """GitHub drops what is over its limit without a word, so the last one counts."""
    changes = tuple(change(n, Verb.START, risks=(Risk.TRADES_AGAIN,)) for n in range(500))
    ending = Ending(reason=ExitReason.OK, found=Found(command="plan", plan=replace(plan_of(), changes=changes)))
    found = [a for a in shown_annotations(ending) if a.level is Level.NOTICE]
    assert len(found) == 10
    assert found[-1].message.startswith("491 more like these")
    assert [a.line for a in found[:9]] == list(range(9))


def test_outputs_tell_what_was_found() -> None:
    """One count a verb, and how it ended; nothing known is nothing said, not zero."""
    plan = endings()["plan"]
    paths = {"plan-path": "/tmp/plan.json", "json-path": "/tmp/plan.txt", "halt-path": ""}
    assert output_values(plan, paths=paths) == {
        "has-changes": "true",
        "start": "1",
        "resume": "1",
        "pause": "1",
        "update": "2",
        "held": "1",
        "blocked": "1",
        "fingerprint": plan.found.fingerprint,
        **paths,
        "exit-code": "1",
        "exit-reason": "error",
    }
    nothing = output_values(endings()["failed"], paths={})
    assert {nothing[name] for name in ("has-changes", "start", "blocked", "fingerprint", "plan-path")} == {""}
    assert (nothing["exit-code"], nothing["exit-reason"]) == ("64", "usage")
    nothing_to_do = replace(plan_of(), changes=(), blocked=())
    calm = Ending(reason=ExitReason.OK, found=Found(command="plan", plan=nothing_to_do))
    assert output_values(calm, paths={})["has-changes"] == "false"
    known = Found(command="plan", plan=replace(nothing_to_do, blocked=plan_of().blocked))
    blocked = replace(calm, found=known)
    assert output_values(blocked, paths={})["has-changes"] == ""


def test_the_log_shows_what_a_terminal_would() -> None:
    """Plan and report are there as text; warnings too, where no error has told of the files already."""
    text = log_text(endings()["apply"])
    assert "Plan: 1 to start" in text
    assert text.index("Plan:") < text.index("Apply: 1 done")
    assert "8 portfolios declared." in log_text(endings()["valid"])
    assert log_text(endings("x")["failed"]) == ""


@pytest.mark.slow
@pytest.mark.parametrize("count", [3_000, pytest.param(30_000, marks=pytest.mark.thorough)])
def test_large_plans_keep_to_the_limits(count: int) -> None:
    """A comment and a summary of any plan have room on GitHub, and say how much is missing."""
    verbs = (Verb.PAUSE, Verb.UPDATE, Verb.START)
    plan = replace(plan_of(), changes=tuple(change(n, verbs[n % 3], text="|" * 200) for n in range(count)))
    ending = Ending(reason=ExitReason.OK, found=Found(command="plan", plan=plan, fingerprint="0" * 64))
    comment, whole = comment_body(ending, run=RUN), summary(ending)
    assert len(comment.encode()) <= 60_000
    assert len(whole.encode()) < 1024 * 1024
    assert "rows are not shown" in comment
    assert rendered(comment).tags.count("<table []>") >= 3


def test_too_many_problems_keep_to_the_limit() -> None:
    """Problems are rows, too."""
    ending = Ending(
        reason=ExitReason.INVALID, found=Found(command="validate", error=ConfigInvalid(problems_of("`" * 150) * 2_000))
    )
    body = comment_body(ending, run=RUN)
    assert len(body.encode()) <= 60_000
    assert re.search(r"\*\*[\d,]+ rows are not shown\*\*", body)


def test_the_step_itself_can_be_remarked_on() -> None:
    """A warning and an error without a place."""
    assert annotation_lines((warning("a"), failure("b"))) == (
        "::warning title=glider-reconciler::a\n::error title=glider-reconciler::b\n"
    )
