"""The reference page says what the schema and the program do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reconciler.config.schema import schema
from reconciler.core.errors import ConfigInvalid
from reconciler.core.text import parse_duration
from tests.config.support import load_files, load_text

PAGE = (Path(__file__).parents[2] / "docs/configuration.md").read_text("utf-8")


def part(name: str) -> str:
    """Return what stands between the two comments of this name."""
    return PAGE.partition(f"<!-- {name}: begin -->\n")[2].partition(f"<!-- {name}: end -->")[0]


def rows_of(name: str) -> str:
    """Return the rows of a table, without its head."""
    return part(name).strip().split("\n", 2)[2] + "\n"


def whole(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field with what it refers to."""
    return {**schema()["$defs"][field["$ref"].rpartition("/")[2]], **field} if "$ref" in field else field


def examples(field: dict[str, Any]) -> str:
    """Return the examples as YAML would have them."""
    return ", ".join(f"`{as_yaml(example)}`" for example in field["examples"])


def as_yaml(example: object) -> str:
    """Return one example as YAML would have it."""
    match example:
        case False:
            return "false"
        case dict():
            return "{" + ", ".join(f"{key}: {as_yaml(value)}" for key, value in example.items()) + "}"
        case _:
            return str(example)


def test_the_table_of_sections_is_the_schema() -> None:
    """Every section is on the page with the schema's description."""
    rows = [f"| `{name}` | {whole(field)['description']} |\n" for name, field in schema()["properties"].items()]
    assert rows_of("sections") == "".join(rows)


def test_the_table_of_fields_is_the_schema() -> None:
    """Every field is on the page with the schema's description, examples and places."""
    portfolio, layer = (schema()["$defs"][name]["properties"] for name in ("portfolio", "layer"))
    assert set(layer) < set(portfolio)
    rows = [
        f"| `{name}` | {'P, L' if name in layer else 'P'} | {examples(field)} | {field['description']} |\n"
        for name, field in ((name, whole(field)) for name, field in portfolio.items())
    ]
    assert rows_of("fields") == "".join(rows)


def test_the_table_of_guards_is_the_schema() -> None:
    """Every guard is on the page."""
    guards = schema()["properties"]["guards"]["properties"]
    rows = [f"| `{name}` | {examples(whole(field))} | {field['description']} |\n" for name, field in guards.items()]
    assert rows_of("guards") == "".join(rows)


def test_the_table_of_costs_is_the_schema() -> None:
    """Every amount is on the page."""
    amounts = schema()["$defs"]["costs"]["properties"]
    rows = [f"| `{name}` | {examples(whole(field))} | {field['description']} |\n" for name, field in amounts.items()]
    assert rows_of("costs") == "".join(rows)


@pytest.mark.parametrize(("written", "means"), re.findall(r"\| `(.*?)` \| (.*?) \|", part("durations")))
def test_the_durations_are_what_the_parser_reads(written: str, means: str) -> None:
    """Each duration on the page means what stands beside it."""
    words = re.sub(r"\s*(\d+) (day|hour|minute)s?", lambda found: found[1] + found[2][0], means)
    assert parse_duration(int(written) if written.isdecimal() else written) == parse_duration(words)


def test_the_example_loads() -> None:
    """The complete example is one."""
    configuration = load_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    assert list(configuration.desired) == ["ao04x0r6", "b7k2m9q1"]


def test_the_mistakes_are_reported_as_shown() -> None:
    """The messages on the page are the program's own."""
    source, messages = re.findall(r"```\w+\n(.*?)```", part("mistakes"), re.DOTALL)
    with pytest.raises(ConfigInvalid) as caught:
        load_files({"automation.yaml": source})
    assert "".join(f"{diagnostic}\n" for diagnostic in caught.value.diagnostics) == messages
