"""Generated configurations: valid ones, and valid ones broken in one or more places."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

words = st.text(alphabet="abcxyz09_-", min_size=1, max_size=6)
texts = st.text(alphabet="abc ÄöZ#:'\"{}[]&*!|>%@`-?,", min_size=1, max_size=12).filter(lambda t: bool(t.strip()))
durations = st.one_of(
    st.sampled_from(["24h", "1d", "1w", "48h", "P2D", "PT36H", "daily", "weekly", "1d12h"]),
    st.integers(min_value=86_400_000, max_value=31_536_000_000),
)
offsets = st.one_of(st.sampled_from(["0s", "90m", "1h30m", "hourly"]), st.integers(min_value=0, max_value=86_399_999))
shared = {
    "chain": st.sampled_from(["ethereum", "base", "1", "8453"]),
    "interval": durations,
    "offset": offsets,
    "reason": texts,
    "until": st.sampled_from(["2026-01-31", "2027-12-01"]),
    "hold": st.just("override"),
    "run_on_start": st.booleans(),
    "owner": texts,
}
layers = st.fixed_dictionaries({}, optional=shared)
strategies = st.fixed_dictionaries(
    {"schedule": st.sampled_from(["hourly", "daily", "weekly", "monthly"])}, optional={"name": texts}
)
expects = st.fixed_dictionaries(
    {}, optional={"url": st.sampled_from(["https://api.glider.fi", "HTTP://LocalHost:8080/"]), "account": texts}
)
limits = st.one_of(st.integers(min_value=0, max_value=99), st.sampled_from(["0%", "10%", "2.5%", "100%"]))
odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts, st.builds(list), st.builds(dict),
    st.sampled_from(["on", "012", "9:30", "24h\n", "", " ", "1", "active", "[glider-reconciler]", "x" * 201, 1.0, 2.0]),
    st.dictionaries(words, st.one_of(st.none(), texts), max_size=2),
)  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a document that is valid in every respect, with its groups."""
    groups = draw(st.dictionaries(words.filter(lambda name: name[0] != "-"), layers, max_size=3))
    own: dict[str, Any] = {**shared, "name": texts}
    if groups:
        own["group"] = st.sampled_from(sorted(groups))
    state = st.sampled_from(["active", "paused"])
    enrolled = {name: own[name] for name in ("name", "reason", "until", "hold", "owner")}
    portfolio = st.one_of(
        st.fixed_dictionaries({"state": state}, optional=own),
        st.fixed_dictionaries({"state": state, "api": st.just("v2")}, optional={**enrolled, "strategy": words}),
    )
    guards = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("max_start", "max_resume", "max_pause", "max_update", "max_reach"), limits)
    )
    return {
        "version": 1,
        "defaults": draw(layers),
        "groups": groups,
        "portfolios": draw(st.dictionaries(words, portfolio, min_size=1, max_size=4)),
        "strategies": draw(st.dictionaries(words, strategies, max_size=3)),
        "guards": draw(guards),
        "service": draw(
            st.fixed_dictionaries({}, optional={"paths": st.sampled_from(["auto", "guide"]), "expect": expects})
        ),
    }


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Draw a document with something removed, replaced or added, up to three times."""
    document: Any = draw(documents())
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        node = document
        while True:
            inner = [value for value in node.values() if isinstance(value, dict)]
            if not inner or draw(st.booleans()):
                break
            node = draw(st.sampled_from(inner))
        key = draw(st.one_of(st.sampled_from(sorted(node)) if node else words, words, st.just("a\n"), st.just("<<")))
        if key in node and draw(st.booleans()):
            del node[key]
        else:
            node[key] = draw(odd)
    return document
