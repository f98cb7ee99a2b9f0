"""The compiled check and jsonschema say the same; the schema and the parser of durations too."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.config.schema import compile_schema, conforms, schema, schema_text
from reconciler.core.text import parse_duration
from tests.config.strategies import documents, mutated

REFERENCE = Draft202012Validator(schema())


def test_the_schema_is_a_schema() -> None:
    """The published file keeps to draft 2020-12."""
    Draft202012Validator.check_schema(schema())
    assert schema_text().startswith("{")


@pytest.mark.slow
@given(documents())
def test_valid_documents_pass_both(document: dict[str, Any]) -> None:
    """What is generated as valid is valid to the compiled check and to jsonschema."""
    assert conforms()(document)
    assert REFERENCE.is_valid(document)


@pytest.mark.slow
@given(mutated())
def test_the_compiled_check_agrees_with_jsonschema(document: Any) -> None:
    """However a document is broken, both say the same of it."""
    assert conforms()(document) is REFERENCE.is_valid(document)


@given(st.text(alphabet="0123456789wdhmsPTHMDWSailyek \n:.-", max_size=12))
def test_the_pattern_of_durations_is_what_the_parser_reads(text: str) -> None:
    """A text keeps to the schema's pattern exactly when it is a duration."""
    pattern = schema()["$defs"]["interval"]["pattern"]
    assert schema()["$defs"]["offset"]["pattern"] == pattern
    try:
        parse_duration(text)
    except ValueError:
        assert re.search(pattern, text) is None
    else:
        assert re.search(pattern, text) is not None


@pytest.mark.parametrize("keyword", ["anyOf", "format", "minProperties", "items", "patternProperties"])
def test_an_unknown_keyword_does_not_compile(keyword: str) -> None:
    """A keyword that the compiled check would ignore stops the program instead."""
    changed = copy.deepcopy(schema())
    changed["$defs"]["name"][keyword] = []
    with pytest.raises(ValueError, match=keyword):
        compile_schema(changed)


def test_an_unknown_reference_does_not_compile() -> None:
    """References outside the file are never followed."""
    with pytest.raises(ValueError, match="refers to"):
        compile_schema({"$ref": "https://example.com/x"})


def _described(part: dict[str, Any], address: str) -> list[str]:
    target = schema()["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    whole = {**target, **part}
    missing = [f"{address}: {key}" for key in ("description", "examples") if key not in whole]
    for name, member in whole.get("properties", {}).items():
        missing += _described(member, f"{address}.{name}")
    return missing


def test_every_field_is_described_with_examples_that_are_valid() -> None:
    """Editors have something to show for every field, and every example keeps to its own definition."""
    parts = {**schema()["$defs"], **schema()["properties"]}
    assert [text for name, part in parts.items() for text in _described(part, name)] == []
    for name, part in parts.items():
        for example in part.get("examples", []):
            assert compile_schema(part, schema())(example), (name, example)
            assert not list(REFERENCE.evolve(schema={**part, "$defs": schema()["$defs"]}).iter_errors(example))


def test_nothing_unknown_is_allowed_anywhere() -> None:
    """Every mapping of the schema is closed, so that a slip of a key is never ignored."""
    for part in (schema(), *schema()["properties"].values(), *schema()["$defs"].values()):
        if part.get("type") == "object":
            assert part["additionalProperties"] is not True
            assert "additionalProperties" in part
