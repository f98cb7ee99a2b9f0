"""Mistakes that people make at first, with the whole of what is said of each."""

from __future__ import annotations

import pytest

from tests.config.support import load_text, problems, said

HEAD = "version: 1\nportfolios:\n"
MISTAKES = {
    "an infinite interval hides nothing else": (
        HEAD + "  a1: {state: active, interval: .inf}\n  a2: {state: activ}\n",
        [
            (
                "3:33: portfolios.a1.interval: `.inf` is not a duration; write a duration such as `90m`, `24h`, `1d` or "
                "`PT12H`"
            ),
            "4:15: portfolios.a2.state: `activ` is not a state; write `active` or `paused`",
        ],
    ),
    "a huge exponent": (
        HEAD + "  a1: {state: active, interval: 24h, offset: 1e400}\n",
        ["3:46: portfolios.a1.offset: `1e400` is not a duration; write a duration such as `0s`, `90m` or `2h`"],
    ),
    "not a number": (
        HEAD + "  a1: {state: active, name: .nan}\n",
        ["3:29: portfolios.a1.name: `.nan` is a number, not text; put it in quotes"],
    ),
    "an anchor in groups": (
        "version: 1\ngroups:\n  &x:\n    api: v2\nportfolios:\n  a1: {state: paused, group: x}\n",
        [
            "3:3: groups: the anchor `&x` is not read; write the value out, or use `groups` for what is shared",
            "6:30: portfolios.a1.group: the group `x` is not declared; declare it under `groups`, or remove the line",
        ],
    ),
    "a group that looks like a number": (
        "version: 1\ngroups: {'1.10': {}, '1.1': {}}\nportfolios:\n  a1: {state: active, group: 1.10}\n",
        ['4:30: portfolios.a1.group: `1.10` is not the name of a group; put it in quotes: "1.10"'],
    ),
    "a name that looks like a number": (
        HEAD + "  a1: {state: paused, name: 25921e05}\n",
        ["3:29: portfolios.a1.name: `25921e05` is a number, not text; put it in quotes"],
    ),
    "milliseconds in quotes": (
        HEAD + '  a1: {state: active, interval: "86400000"}\n',
        [
            (
                "3:33: portfolios.a1.interval: `86400000` is not a duration; remove the quotes: a bare number is "
                "milliseconds"
            ),
        ],
    ),
    "a month": (
        HEAD + "  a1: {state: active, interval: 1M}\n",
        [
            (
                "3:33: portfolios.a1.interval: `1M` is not a duration; write days, such as 30d: months and years have no "
                "fixed length"
            ),
        ],
    ),
    "hours without a unit": (
        HEAD + "  a1: {state: active, interval: 24}\n",
        [
            (
                "3:33: portfolios.a1.interval: 24ms is below the minimum of 1h; did you mean 24h? A bare number is "
                "milliseconds"
            ),
        ],
    ),
    "a repair that would be refused in turn": (
        HEAD + "  a1: {state: active, interval: 5 minutes}\n",
        [
            (
                "3:33: portfolios.a1.interval: `5 minutes` is not a duration; write a duration such as `90m`, `24h`, `1d` "
                "or `PT12H`"
            ),
        ],
    ),
    "paused": (
        HEAD + "  a1: {paused: true, interval: 24h}\n",
        ["3:8: portfolios.a1.paused: unknown key `paused`; write `state: paused`"],
    ),
    "not paused": (
        HEAD + "  a1: {paused: false}\n",
        ["3:8: portfolios.a1.paused: unknown key `paused`; write `state: active` or `state: paused`"],
    ),
    "a tab": (HEAD + "  a1:\n\tstate: active\n", ["4:1: this is not YAML: a tab can't indent; indent with spaces"]),
    "a merge conflict": (
        HEAD + "<<<<<<< HEAD\n  a1: {state: active}\n=======\n  a1: {state: paused}\n>>>>>>> topic\n",
        [
            (
                "3:1: this marks a merge conflict that is not resolved; keep what is right of both sides, and delete the "
                "lines with the marks"
            ),
        ],
    ),
    "a no-break space": (
        HEAD + "  a1:\n    state: active\u00a0\n",
        [
            (
                "4:12: portfolios.a1.state: `active\u00a0` is not a state; it holds U+00A0 (no-break space), which looks "
                "like a space: remove it"
            ),
        ],
    ),
    "a no-break space in a key": (
        HEAD + "  a1:\n    state: active\n    chain\u00a0: base\n",
        [
            (
                "5:5: portfolios.a1.chain\u00a0: unknown key `chain\u00a0`; it holds U+00A0 (no-break space), which looks "
                "like a space: remove it"
            ),
        ],
    ),
    "a line in quotes": (
        HEAD + '  a1:\n    "state: active"\n',
        [
            (
                "4:5: portfolios.a1: `state: active` is not a mapping; remove the quotes, and write one `key: value` a "
                "line"
            ),
        ],
    ),
    "a variable where no text can be": (
        HEAD + "  a1: {state: active, interval: '${EVERY}'}\n",
        [
            (
                "3:33: portfolios.a1.interval: `${EVERY}` is not a duration; write the value: no variable is put in its "
                "place"
            ),
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_said_of_a_mistake(text: str, expected: list[str]) -> None:
    """Each mistake is named where it stands, in the words of the file, with a repair that can be followed."""
    assert said(problems(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            HEAD + '  a1: {state: paused, reason: "${REASON}"}\n',
            (
                "3:31: portfolios.a1.reason: `${REASON}` stays as it is written: no variable is put in its place; write "
                "the value, or make the file from a template before it is read"
            ),
        ),
        (
            HEAD + "  a1: {state: active, interval: 12h, chain: 0x1}\n",
            (
                "3:45: portfolios.a1.chain: the chain `0x1` does not turn on the minimum interval of ETH mainnet; write "
                "`ethereum` if that is meant"
            ),
        ),
    ],
)
def test_what_may_be_meant_is_a_warning(text: str, expected: str) -> None:
    """What is valid and probably not what was meant is said, and passed by."""
    assert said(list(load_text(text).warnings)) == [expected]
