"""The reference page and the published schema say what the table of fields says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.core.errors import ConfigInvalid
from reconciler.core.fields import LAYER_FIELDS, PORTFOLIO_FIELDS, STRATEGY_FIELDS
from reconciler.core.sections import AUTOMATION_FIELDS, EXPECT_FIELDS, FREEZE_FIELDS, GUARDS_FIELDS
from reconciler.core.tables import FieldSpec, FieldTable, fields_of
from reconciler.core.text import parse_duration
from tests.config.support import load_files, load_text

PAGE = (Path(__file__).parents[2] / "docs/configuration.md").read_text("utf-8")


def part(name: str) -> str:
    """Return what stands between the two comments of this name."""
    return PAGE.partition(f"<!-- {name}: begin -->\n")[2].partition(f"<!-- {name}: end -->")[0]


def rows_of(name: str) -> str:
    """Return the rows of a table, without its head."""
    return part(name).strip().split("\n", 2)[2] + "\n"


def examples(field: FieldSpec) -> str:
    """Return the examples as YAML would have them."""
    return ", ".join(f"`{as_yaml(example)}`" for example in field.examples)


def as_yaml(example: object) -> str:
    """Return one example as YAML would have it."""
    match example:
        case False:
            return "false"
        case dict():
            return "{" + ", ".join(f"{key}: {as_yaml(value)}" for key, value in example.items()) + "}"
        case list():
            return f"[{', '.join(map(as_yaml, example))}]"
        case _:
            return str(example)


def test_the_sections_are_on_the_page() -> None:
    """Every section is on the page with its description."""
    assert rows_of("sections") == "".join(f"| `{field.name}` | {field.about} |\n" for field in AUTOMATION_FIELDS.fields)


def test_the_fields_are_on_the_page() -> None:
    """Every field is on the page with its description, its examples and the layers that may hold it."""
    assert LAYER_FIELDS.fields == tuple(field for field in PORTFOLIO_FIELDS.fields if field.layered)
    rows = [
        f"| `{field.name}` | {'P, L' if field.layered else 'P'} | {examples(field)} | {field.about} |\n"
        for field in PORTFOLIO_FIELDS.fields
    ]
    assert rows_of("fields") == "".join(rows)


def costs() -> FieldTable:
    """Return the table of ``costs``."""
    kind = fields_of(PORTFOLIO_FIELDS)["costs"].kind
    assert isinstance(kind, FieldTable)
    return kind


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("guards", GUARDS_FIELDS),
        ("costs", costs()),
        ("strategy fields", STRATEGY_FIELDS),
        ("expect", EXPECT_FIELDS),
        ("freeze", FREEZE_FIELDS),
    ],
)
def test_the_smaller_tables_are_on_the_page(name: str, table: FieldTable) -> None:
    """Every guard, amount, field of a strategy, of a freeze and expectation is on the page."""
    rows = [f"| `{field.name}` | {examples(field)} | {field.about} |\n" for field in table.fields]
    assert rows_of(name) == "".join(rows)


@pytest.mark.parametrize(("written", "means"), re.findall(r"\| `(.*?)` \| (.*?) \|", part("durations")))
def test_the_durations_are_what_the_parser_reads(written: str, means: str) -> None:
    """Each duration on the page means what stands beside it."""
    words = re.sub(r"\s*(\d+) (day|hour|minute)s?", lambda found: found[1] + found[2][0], means)
    assert parse_duration(int(written) if written.isdecimal() else written) == parse_duration(words)


def test_the_example_loads() -> None:
    """The complete example is one."""
    configuration = load_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    assert list(configuration.desired) == ["ao04x0r6", "b7k2m9q1"]


def test_the_freezes_of_the_example_load() -> None:
    """The example of freezes is one, and says nothing that a program would warn of but its conditions."""
    example = next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if text.startswith("freeze:"))
    found = load_text(f"version: 1\nportfolios: {{a1: {{state: active, labels: {{team: fx}}}}}}\n{example}")
    assert [one.window.name for one in found.freezes] == ["fx-audit", "year-end"]
    assert not [warning for warning in found.warnings if "freeze" in warning.address]


def test_the_mistakes_are_reported_as_shown() -> None:
    """The messages on the page are the program's own."""
    source, messages = re.findall(r"```\w+\n(.*?)```", part("mistakes"), re.DOTALL)
    with pytest.raises(ConfigInvalid) as caught:
        load_files({"automation.yaml": source})
    assert "".join(f"{diagnostic}\n" for diagnostic in caught.value.diagnostics) == messages
