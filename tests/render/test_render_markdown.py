"""Pages as GitHub shows them: what stands first, what is cut, and that data stays data."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Cause, Risk
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.diff import compare_plans
from reconciler.core.errors import ReconcilerError
from reconciler.core.model import Layered, Origin, Verb
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint
from reconciler.render.compare import comparison_page, drift_page
from reconciler.render.github import diagnostics_page, error_block, summary
from reconciler.render.markdown import inline, markdown
from reconciler.render.page import Block, Column, Lines, Notice, Page, Part, Row, Rows, Tone, code
from reconciler.render.plan import plan_page, report_page
from tests.endings import change, endings, plan_of, problems_of, report_of
from tests.githubjudge import alive, rendered
from tests.hostile import HOSTILE

NAMES = [f"{number}-{text[:12]!a}" for number, text in enumerate(HOSTILE)]


def pages(text: str) -> dict[str, str]:
    """Return every page with the text in every place."""
    plan = plan_of(text)
    return {
        "plan": markdown(plan_page(plan)),
        "report": markdown(report_page(report_of(plan, text))),
        "drift": markdown(drift_page(plan)),
        "comparison": markdown(comparison_page(compare_plans(earlier=plan_of("Value"), later=plan))),
        "diagnostics": markdown(diagnostics_page(problems_of(text))),
        "error": markdown(Page(title="Failed", verdict="", blocks=(error_block(ReconcilerError(text, text)),))),
    }


BENIGN = {name: rendered(found) for name, found in pages("Harmless").items()}


@pytest.mark.slow  # a thousand whole pages
@pytest.mark.parametrize("text", HOSTILE, ids=NAMES)
def test_data_stays_data(text: str) -> None:
    """Whatever a text holds, a page has the structure that it has with a harmless one, and nothing in it is alive."""
    for name, page in pages(text).items():
        found = rendered(page)
        assert found.tags == BENIGN[name].tags, name
        assert alive(found) == [], name


def page_of(*blocks: Block) -> Page:
    return Page(title="Title", verdict="so", blocks=blocks)


def table(title: str, rows: list[Row], *, rank: int = 0, opened: int | None = None) -> Rows:
    columns = (Column("A"), Column("B"))
    return Rows(columns=columns, rows=tuple(rows), parts=(Part(title, rank=rank, opened=opened),))


@given(st.text(st.sampled_from("@#:/|\\`*_[]()<>&~$!-+=.w7aGH \n\t\u200b1x"), min_size=1, max_size=40))
def test_a_cell_is_one_cell(text: str) -> None:
    """No run of signs gets out of a cell, or becomes a link, a mention or markup inside it."""
    found = rendered(markdown(page_of(table("T", [Row((text, code(text)))]))))
    assert found.tags == rendered(markdown(page_of(table("T", [Row(("x", "x"))])))).tags
    assert alive(found) == []


@given(st.text(st.sampled_from("#>-+*=~_`|1.) \tax[]<"), max_size=12))
def test_a_line_begins_no_block(text: str) -> None:
    """No text is a heading, a list, a quotation or a rule because it stands first on its line."""
    found = rendered(markdown(page_of(Lines((text, text)), Notice(Tone.BAD, (text, text)))))
    assert found.tags == rendered(markdown(page_of(Lines(("x", "x")), Notice(Tone.BAD, ("x", "x"))))).tags


@given(st.text("ab1 -_.@#:`|\\$<&", max_size=30))
def test_a_cell_reads_as_it_was_written(text: str) -> None:
    """What a reader sees is the text, but for what can't be seen."""
    seen = rendered(f"x{inline(text)}x").everything.replace("\u200b", "").rstrip("\n")
    assert seen == f"x{text}x"


def excerpt(line: str) -> str:
    span = SourceSpan("a.yaml", 1, 1, 1)
    return markdown(diagnostics_page([Diagnostic(Severity.ERROR, "p", "r", "a", span, line)]))


def test_a_fence_is_longer_than_any_inside() -> None:
    """A source line that holds a fence stays inside its own."""
    assert "\n  ``````\n  1 | ````` sh\n    | ^\n  ``````\n" in excerpt("````` sh")
    found = rendered(excerpt("`" * 150 + "~~~</pre><b>"))
    assert [tag for tag in found.tags if "pre" in tag] == ["<pre []>", "</pre>"]


SMALL = """\
### ❌ Plan: 6 changes, 1 held, 1 blocked, 1 moved, over a guard

<sub>fingerprint `{fingerprint}`, 9 portfolios from `Growth`, live at `https://api.glider.fi`</sub>

> [!CAUTION]
> **Over a guard:** 12 to resume, but guards.max\\_resume is Growth = 5; after reading the plan, allow it with \
--allow resume=12.

| `+`&nbsp;start | `>`&nbsp;resume | `~`&nbsp;update | `=`&nbsp;pause | `!`&nbsp;held | `x`&nbsp;blocked | unchanged |
| :-: | :-: | :-: | :-: | :-: | :-: | :-: |
| **1** | **1** | **2** | **1** | **1** | **1** | **1** |

**Look first:** overrides a hold **1**, trades at once **1**, starts or resumes trading **2**, \
trades more often **1**, strategies that trade more often **1**.
"""


def test_a_plan_at_a_glance() -> None:
    """Verdict, guards, counts and dangers stand before every table, the guards first."""
    plan = plan_of()
    assert markdown(plan_page(plan)).startswith(SMALL.format(fingerprint=fingerprint(plan)))


def test_what_needs_a_look_comes_first() -> None:
    """The gravest risk first, then starts and resumes, what is held or blocked, and the rest last."""
    shown = markdown(plan_page(plan_of()))
    order = ["strategy `growth`", "`p00002`", "`p00001`", "`p00003`", "`p00006`", "`p00007`", "`p00004`", "`p00005`"]
    places = [shown.index(f"| {portfolio} |") for portfolio in order]
    assert places == sorted(places)


def test_the_rest_is_folded_when_long() -> None:
    """Pauses and lengthened intervals of a longer plan are one click away."""
    plan = replace(plan_of(), changes=tuple(change(number, Verb.PAUSE) for number in range(40)))
    found = rendered(markdown(plan_page(plan)))
    assert "<details []>" in found.tags
    assert "Everything else (40)" in found.everything
    risky = replace(plan, changes=tuple(change(n, Verb.START, risks=(Risk.TRADES_AGAIN,)) for n in range(40)))
    shown = markdown(plan_page(risky))
    assert shown.index("| 40 portfolios |") < shown.index("<details>") < shown.index("| `p00030` |")
    unlike = replace(
        plan, changes=tuple(change(n, Verb.UPDATE, risks=(Risk.MORE_RUNS,), hours=(n + 9, n + 8)) for n in range(40))
    )
    shown = markdown(plan_page(unlike))
    assert shown.index("`p00029`") < shown.index("<details>") < shown.index("`p00030`")


def test_what_needs_a_look_comes_first_across_causes() -> None:
    """With a base each row says where its change comes from, and a harmless change of the branch waits."""
    changes = [
        replace(found, cause=Cause.BRANCH if i % 2 else Cause.PENDING) for i, found in enumerate(plan_of().changes)
    ]
    shown = markdown(plan_page(replace(plan_of(), changes=tuple(changes))))
    look, rest = (shown.index(f"**{title}**") for title in ("Needs a look", "Everything else"))
    rows = [line for line in shown.splitlines() if line.startswith(("| this branch |", "| pending |"))]
    assert len(rows) == len(changes)
    assert look < min(map(shown.index, rows))
    assert {row.split(" |")[0] for row in rows if shown.index(row) < rest} == {"| this branch", "| pending"}
    assert "| Cause | Action |" in shown
    assert "| Cause |" not in shown[shown.index("**Held**") : rest]


def test_many_that_change_alike_are_one_row_with_its_line() -> None:
    """It names the line of the files that brought them about, and the ids stand behind a click."""
    line = Layered("group every-24h", "automation.yaml", 12)
    alike = [change(n, Verb.UPDATE, risks=(Risk.MORE_RUNS,)) for n in range(30)]
    shared = [replace(one, source=Origin("automation.yaml", 20 + n, line)) for n, one in enumerate(alike[:20])]
    shown = rendered(markdown(plan_page(replace(plan_of(), changes=(*shared, *alike[20:])))))
    texts = [text.replace("\u200b", "") for text in shown.texts]
    (first,) = [text for text in texts if "group every-24h" in text]
    assert "20 portfolios" in "".join(texts)
    assert "automation.yaml:12" in first
    assert "p00003" not in first
    assert "<details []>" in shown.tags


def test_two_tables_never_touch() -> None:
    """Something is said between two tables, on every page and where there is room for little."""
    for ending in endings().values():
        for limit in (10**6, 3000, 2000, 1200):
            tags = rendered(summary(ending, limit_bytes=limit)).tags
            assert ("</table>", "<table []>") not in set(pairwise(tags))


def test_nothing_to_do() -> None:
    """An empty plan says so, with the sign for it."""
    plan = Plan(base_url="u", created_ms=0, config_digest="", config_files=("a.yaml",), no_op=3)
    shown = markdown(plan_page(plan))
    assert shown.startswith("### ✅ Plan: no changes\n")
    assert "Nothing to do: live automation is as declared." in shown


@cache
def fleet(count: int) -> Plan:
    """Return a plan of so many changes; every hundredth starts, the others pause or lengthen."""
    changes = tuple(
        change(n, Verb.START, risks=(Risk.TRADES_AGAIN,))
        if n % 100 == 0
        else change(n, (Verb.PAUSE, Verb.UPDATE)[n % 2], text="Ünïcode | name")
        for n in range(count)
    )
    return replace(plan_of(), changes=changes)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3_000, pytest.param(30_000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("limit", [60_000, 1_000_000])
def test_a_long_plan_is_cut_at_whole_rows(count: int, limit: int) -> None:
    """In bytes it keeps to the limit, every row is whole, the risky ones are all there, and the hidden are counted."""
    plan = fleet(count)
    shown = markdown(plan_page(plan), limit_bytes=limit)
    assert len(shown.encode()) <= limit
    assert len(shown.encode()) > min(limit * 0.98, 390_000)
    rows = [line for line in shown.splitlines() if re.match(r"\| `.`&nbsp;(start|pause|update|held|blocked) \|", line)]
    rows = [row for row in rows if "| `p" in row]
    assert {row.count("|") for row in rows} == {5}
    starts = sum("`+`&nbsp;start" in row for row in rows)
    assert starts == count // 100 or starts >= len(rows) - 2
    hidden = re.search(r"\*\*([\d,]+) rows are not shown\*\*", shown)
    told = int(hidden[1].replace(",", "")) if hidden else 0
    assert len(rows) + told == count + 2
    assert shown.count("<details>") == shown.count("</details>") >= 1


@given(st.lists(st.integers(0, 40), max_size=5), st.integers(400, 3_000))
def test_a_page_is_never_too_long(counts: list[int], limit: int) -> None:
    """Shown and hidden rows add up to all of them; the headline is kept."""
    blocks = []
    for rank, count in enumerate(counts):
        rows = [Row(("a" * (1 + 7 * n % 90), "é")) for n in range(count)]
        blocks.append(table(f"T{rank}", rows, rank=-rank % 3, opened=0 if rank % 2 else None))
    found = markdown(page_of(*blocks), limit_bytes=limit)
    assert len(found.encode()) <= limit
    assert found.startswith("### Title: so\n")
    hidden = re.search(r"\*\*([\d,]+) rows? (?:is|are) not shown", found)
    shown = len(re.findall(r"^\|[ a`]*\| é \|$", found, re.MULTILINE))
    assert shown + (int(hidden[1]) if hidden else 0) == sum(counts)


def test_a_text_too_long_for_the_page_is_left_out() -> None:
    """Even without room for one whole block the limit holds, and the page says that something is missing."""
    found = markdown(page_of(Lines(("x",) * 1_000)), limit_bytes=500)
    assert len(found.encode()) <= 500
    assert "**1 row is not shown**" in found


def test_a_notice_is_one_box() -> None:
    """Each sentence is a paragraph of the same box."""
    assert "\n> [!CAUTION]\n> a\n>\n> b\n" in markdown(page_of(Notice(Tone.BAD, ("a", "b"))))


def test_what_could_not_be_read_is_never_called_unchanged() -> None:
    """A plan whose portfolios are all blocked does not say "no changes" in its headline."""
    plan = plan_of()
    alone = replace(plan, changes=(), held=(), blocked=plan.blocked, over=())
    assert "no changes" not in plan_page(alone).verdict
    assert plan_page(alone).verdict == "1 blocked, 1 moved"
