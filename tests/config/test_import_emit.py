"""Emitted YAML loads to exactly what went in, and adding to a file touches nothing that was there."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.config.emit import Comments, emit, scalar
from reconciler.config.into import Additions, add_to, insert, require_exactly
from reconciler.core.adoption import Ground, lay_out
from reconciler.core.endpoint import NOTHING, Expect, expect_of
from reconciler.core.errors import ReconcilerError
from reconciler.core.guards import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    PortfolioId,
    RunState,
    StrategyDesired,
    StrategyId,
)
from reconciler.core.text import HOUR_MS, label
from tests.config.support import TODAY, load_text
from tests.support import examples

ODD = [
    *("yes", "No", "ON", "null", "~", "012", "0x1F", "0o17", "1e5", "9:30", "1_000", "-", "---", "...", "true", "y"),
    *("a: b", "a #b", "#a", "'a'", '"', "\\", "\\u0041", "{a}", "[a]", "*a", "&a", "!a", "|", ">", "%a", "@a", "`a`"),
    *("<<", "=", "? a", "- a", "a:", "ключ", "日本", "💥", "é\u0301", "2026-12-01", "1.0", ".inf", "a,b", "\u00a0x"),
]
KEYS = st.text("abcdefx0123456789_-oeyn", min_size=1, max_size=6) | st.sampled_from(
    ["012", "0x1F", "1e5", "yes", "null", "true", "-", "--", "---", "_", "1_000", "n", "0b1", "0o17", "NULL"]
)
LABELS = st.sampled_from(ODD).map(label) | st.text(max_size=20).map(label)
INTERVALS = st.sampled_from([1, 6, 12, 24, 24, 24, 48]).map(lambda hours: hours * HOUR_MS) | st.integers(
    MIN_INTERVAL_MS, MAX_INTERVAL_MS
)


@st.composite
def portfolios(draw: st.DrawFn) -> Desired:
    """Draw one portfolio that files can declare."""
    api = draw(st.sampled_from(ApiVersion))
    made = Desired(
        id=PortfolioId(draw(KEYS)),
        api=api,
        state=draw(st.sampled_from(RunState)),
        name=draw(st.none() | LABELS),
        reason=draw(st.none() | LABELS),
        owner=draw(st.none() | LABELS),
        chain=draw(st.none() | st.sampled_from(["base", "8453"])),
        until=draw(st.none() | st.just("2031-12-01")),
        hold_override=draw(st.booleans()),
    )
    if api is ApiVersion.V2:
        return replace(made, strategy=draw(st.none() | KEYS.map(StrategyId)))
    interval = draw(st.none() | INTERVALS)
    offset = draw(st.none() | st.just(0) | st.integers(0, (interval or HOUR_MS) - 1))
    return replace(made, interval_ms=interval, offset_ms=offset, run_on_start=draw(st.booleans()))


FLEETS = st.lists(portfolios(), min_size=1, max_size=30, unique_by=lambda one: one.id)
STRATEGIES = st.dictionaries(KEYS.map(StrategyId), st.tuples(st.sampled_from(Cadence), LABELS), max_size=4).map(
    lambda found: {
        one: StrategyDesired(id=one, schedule=schedule, name=name) for one, (schedule, name) in sorted(found.items())
    }
)
EXPECTS = st.builds(
    lambda url, account: expect_of(url=url, account=account),
    url=st.sampled_from(["https://api.glider.fi", "https://proxy.example:8443/glider", "sandbox://3f"]),
    account=st.none() | st.sampled_from(ODD) | st.text(max_size=20),
)
REMARKS = Comments(head=["a: b", "…"], tail=["Not imported:", "  x: 'y\n"], portfolios={}, strategies={})


def plain(found: Any) -> dict[str, Any]:
    """Return what is declared without places."""
    return {key: replace(one, origin=None) for key, one in found.items()}


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(FLEETS, STRATEGIES, EXPECTS, st.booleans())
def test_what_is_emitted_loads_to_the_same(
    fleet: list[Desired], strategies: dict[StrategyId, StrategyDesired], expect: Expect, remarks: bool
) -> None:
    """load(emit(x)) == x, whatever names, ids and comments there are; laying out changes nothing but groups."""
    layout = lay_out(fleet, kinds={one.id: "daily" for one in fleet})
    beside = replace(REMARKS, portfolios=dict.fromkeys(layout.desired, "interval observed: #'\"\n"))
    text = emit(layout, strategies, beside if remarks else Comments(), expect=expect)
    loaded = load_text(text)
    assert plain(loaded.desired) == dict(layout.desired)
    assert plain(loaded.strategies) == strategies
    assert loaded.expect == expect
    assert {i: replace(one, group=None) for i, one in layout.desired.items()} == {one.id: one for one in fleet}


@settings(max_examples=examples(150), deadline=None)
@given(st.sampled_from(ODD) | st.text(max_size=20))
def test_every_reader_takes_a_scalar_for_the_same_text(text: str) -> None:
    """Readers of YAML 1.1 see the text too: nothing turns into a number, a date or a truth value."""
    name = label(text)
    if name is not None:
        assert yaml.safe_load(f"{scalar(name)}: {scalar(name)}  # beside") == {name: name}


def test_usual_text_stays_bare() -> None:
    """Quotes stand only where they are needed."""
    assert [scalar(text) for text in ("Growth index", "ao04x0r6", "7f3k2m9q", "24h", "Growth (EU)")] == [
        *("Growth index", "ao04x0r6", "7f3k2m9q", "24h", "Growth (EU)")
    ]


FILE = """\
# yaml-language-server: $schema=x
version: 1

defaults: {interval: 24h}   # flow, as somebody likes it

portfolios:
    aaa:            # keep   this
        state:   'active'
        name: "A"

    # of bbb
    bbb: {state: paused}
    # the last word on portfolios

# of the guards
guards:
  max_start: 5
"""
NEW = [Desired(id=PortfolioId(name), state=RunState.PAUSED, interval_ms=12 * HOUR_MS) for name in ("ccc", "ddd", "eee")]


def add(text: str, fleet: list[Desired] = NEW, ground: Ground | None = None, expect: Expect = NOTHING) -> str:
    """Add portfolios, a strategy and what is expected to a file, checked as the command checks it."""
    before = load_text(text)
    layout = lay_out(fleet, ground=ground or Ground(), reuse=True)
    strategies = {StrategyId("s1"): StrategyDesired(id=StrategyId("s1"), schedule=Cadence.DAILY)}
    added = Additions(portfolios=layout.desired, strategies=strategies, expect=expect)
    after = add_to(text.encode(), layout, added, Comments(tail=["Not imported: zzz"]))
    require_exactly({"f": after}, before, added, today=TODAY)
    return after.decode()


VARIANTS = {
    "as it is": FILE,
    "without a last line break": FILE.rstrip("\n"),
    "with blank lines at the end": FILE + "\n\n",
    "with line ends of Windows": FILE.replace("\n", "\r\n"),
    "with a byte order mark": "\ufeff" + FILE,
    "with an end mark": f"---\n{FILE}...\n# over\n",
    "with portfolios at the end": "version: 1\nguards:\n  max_start: 5\nportfolios:\n  aaa:\n    state: active",
    "with all sections": FILE + "strategies:\n   s0:\n      schedule: daily\ngroups:\n  other: {chain: base}\n",
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS.keys())
def test_adding_touches_nothing_that_was_there(text: str) -> None:
    """Every line of the file stays, in its place and byte for byte; what is new stands between."""
    added = add(text)
    ending = "\r\n" if "\r\n" in text else "\n"
    assert added.count("\r\n") == (added.count("\n") if ending == "\r\n" else 0)
    rest = iter(added.split(ending))
    assert all(line in rest for line in text.rstrip("\r\n").split(ending))


def test_new_entries_stand_behind_the_last_one_as_it_is_indented() -> None:
    """Portfolios follow the last portfolio and its comments; what has no section yet gets one at the end."""
    added = add(FILE)
    assert (
        "    # the last word on portfolios\n    ccc:\n      group: every-12h\n      state: paused\n    ddd:\n" in added
    )
    assert "    # Not imported: zzz\n\n# of the guards\nguards:\n" in added
    assert added.endswith("\nstrategies:\n  s1:\n    schedule: daily\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FILE, '\nservice:\n  expect:\n    url: "https://api.glider.fi"\n    account: Acme EU\n'),
        (
            FILE + "service:\n    paths: guide   # theirs\n",
            (
                "service:\n    paths: guide   # theirs\n    expect:\n"
                '      url: "https://api.glider.fi"\n      account: Acme EU\n'
            ),
        ),
    ],
)
def test_what_is_expected_joins_the_section_that_is_there(before: str, after: str) -> None:
    """The section is made, or goes on; nothing is added where nothing is expected."""
    expect = expect_of(url="https://api.glider.fi", account="Acme EU")
    assert after in add(before, expect=expect)
    assert "expect" not in add(before)


@pytest.mark.parametrize("section", ["portfolios: {aaa: {state: active}}", "portfolios: {}\nstrategies: {}"])
def test_a_section_in_braces_is_refused(section: str) -> None:
    """Nothing can be added between braces, and the error says what to do."""
    with pytest.raises(ReconcilerError, match="in braces") as caught:
        insert(f"version: 1\n{section}\n".encode(), {"portfolios": ["  bbb:", "    state: paused"]})
    assert "--out" in caught.value.detail


def test_what_would_not_mean_the_same_is_refused() -> None:
    """A result that is not valid, or declares something else, is an error before anything is written."""
    added = Additions(portfolios={NEW[0].id: NEW[0]}, strategies={})
    before = load_text("version: 1\nportfolios: {aaa: {state: active}}\n")
    with pytest.raises(ReconcilerError, match="would not be valid"):
        require_exactly({"f": b"version: 2\n"}, before, added, today=TODAY)
    other = b"version: 1\nportfolios: {aaa: {state: active}, ccc: {state: active, interval: 12h}, x: {state: paused}}\n"
    with pytest.raises(ReconcilerError, match="something else, so nothing was written: ccc, x"):
        require_exactly({"f": other}, before, added, today=TODAY)
    expecting = b"version: 1\nservice: {expect: {account: A}}\nportfolios: {aaa: {state: active}}\n"
    with pytest.raises(ReconcilerError, match=r"service\.expect"):
        require_exactly({"f": expecting}, before, Additions(portfolios={}, strategies={}), today=TODAY)
    guards = b"version: 1\nguards: {max_start: 1}\nportfolios: {aaa: {state: active}}\n"
    with pytest.raises(ReconcilerError, match="guards, freezes or service"):
        require_exactly({"f": guards}, before, Additions(portfolios={}, strategies={}), today=TODAY)
