"""Both libraries say the same of every document; the schema, the parser of durations, the published file agree."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from reconciler.config import check
from reconciler.config.check import conforms
from reconciler.core.codec import json_text
from reconciler.core.fields import PORTFOLIO_FIELDS, unfit
from reconciler.core.forms import Form
from reconciler.core.model import ApiVersion
from reconciler.core.sections import AUTOMATION_FIELDS, published_schema
from reconciler.core.tables import FieldSpec, FieldTable, Keyed, fields_of, json_schema
from reconciler.core.text import parse_duration
from tests.config.strategies import documents, mutated
from tests.config.support import problems, said

PUBLISHED = Path(__file__).parents[2] / "schemas/automation.schema.json"


def finite(_: object, value: object) -> bool:
    """Return what JSON calls a number."""
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)


TYPES = Draft202012Validator.TYPE_CHECKER.redefine("number", finite)
REFERENCE = extend(Draft202012Validator, type_checker=TYPES)(json_schema(AUTOMATION_FIELDS))
EDITORS = extend(Draft202012Validator, type_checker=TYPES)(published_schema())


def test_the_published_schema_is_the_table() -> None:
    """The file for editors is generated: `reconciler schema > schemas/automation.schema.json` renews it."""
    Draft202012Validator.check_schema(published_schema())
    assert PUBLISHED.read_text("utf-8") == json_text(published_schema())


@pytest.mark.slow
@given(documents())
def test_valid_documents_pass_both(document: dict[str, Any]) -> None:
    """What is generated as valid is valid to both libraries."""
    assert conforms(document, AUTOMATION_FIELDS)
    assert REFERENCE.is_valid(document)
    assert EDITORS.is_valid(document)


def portfolio(**fields: object) -> dict[str, Any]:
    """Return a document of one portfolio with these fields."""
    return {"version": 1, "portfolios": {"a": {"state": "active", **fields}}}


@pytest.mark.slow
@given(mutated())
@example({"version": 1.0})
@example({"version": True})
@example(portfolio(interval=86_400_000.0))
@example(portfolio(interval=86_400_000.5))
@example(portfolio(interval=10**30))
@example(portfolio(interval=-(10**30)))
@example(portfolio(interval=2**63))
@example(portfolio(interval=2**64))
@example(portfolio(offset=1e300))
@example(portfolio(interval=math.inf))
@example(portfolio(interval=math.nan))
@example(portfolio(costs={"per_rebalance_usd": math.inf}))
@example(portfolio(costs={"per_rebalance_usd": -math.inf}))
@example(portfolio(costs={"per_rebalance_usd": math.nan}))
@example(portfolio(costs={"per_rebalance_usd": 10**400}))
@example(portfolio(interval="24h\n"))
@example(portfolio(name="\u00a0"))
@example(portfolio(name="\u200b"))
@example(portfolio(name="\U0001f600" * 200))
@example(portfolio(name="\U0001f600" * 201))
@example(portfolio(reason="[glider-reconciler"))
@example(portfolio(interval="٣h"))
@example({"version": 1, "portfolios": {"a\n": {"state": "active"}}})
@example({"version": 1, "portfolios": {1: {"state": "active"}}})
@example({1: 1})
def test_both_libraries_say_the_same(document: Any) -> None:
    """However a document is broken, the one that decides and the one that explains agree."""
    assert conforms(document, AUTOMATION_FIELDS) is REFERENCE.is_valid(document)


@pytest.mark.slow
@given(mutated())
def test_an_editor_marks_what_is_refused(document: Any) -> None:
    """The schema for editors is never the milder one."""
    assert REFERENCE.is_valid(document) or not EDITORS.is_valid(document)


@pytest.mark.parametrize(
    ("api", "field"),
    [(api, field) for api in ApiVersion for field in unfit(api)],
    ids=lambda one: one.name if isinstance(one, FieldSpec) else str(one.value),
)
def test_what_only_editors_refuse_at_once(api: ApiVersion, field: FieldSpec) -> None:
    """A field that a portfolio can't have beside its `api` is marked in an editor, in the words of `validate`."""
    entry = portfolio(api=api.value, **{field.name: field.examples[0]})
    assert REFERENCE.is_valid(entry)
    (marked,) = EDITORS.iter_errors(entry)
    *clause, _, _ = marked.absolute_schema_path
    then: Any = published_schema()
    for step in clause:
        then = then[step]
    (problem,) = said(problems(json.dumps(entry)))
    assert problem.endswith(f"portfolios.a.{field.name}: {then['then']['errorMessage']}")


def test_a_disagreement_is_a_problem_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one refuses and the other accepts does not pass, and the message says whose bug it is."""
    text = "version: 1\nportfolios:\n  a: {state: active}\n  b: {state: active}\n"
    monkeypatch.setattr(check, "_keeps", lambda _, value: value in ({"a": {"state": "active"}}, 1))
    bug = (
        "one check of the schema refuses this and the other accepts it; this is a bug of reconciler; please report it "
        "with the file"
    )
    assert said(problems(text)) == [f"4:3: portfolios.b: {bug}"]
    monkeypatch.setattr(check, "_keeps", lambda _, value: "version" not in str(value))
    assert said(problems(text)) == [f"1:1: {bug}"]


@given(st.text(alphabet="0123456789wdhmsPTHMDWSailyek \n:.-", max_size=12))
def test_the_pattern_of_durations_is_what_the_parser_reads(text: str) -> None:
    """A text keeps to the schema's pattern exactly when it is a duration."""
    interval, offset = (fields_of(PORTFOLIO_FIELDS)[name].kind for name in ("interval", "offset"))
    assert isinstance(interval, Form)
    assert isinstance(offset, Form)
    pattern = interval.schema["pattern"]
    assert offset.schema["pattern"] == pattern.replace("(?:", "(?:auto|", 1)
    try:
        parse_duration(text)
    except ValueError:
        assert re.search(pattern, text) is None
    else:
        assert re.search(pattern, text) is not None


def fields_below(table: FieldTable) -> list[FieldSpec]:
    """Return every field of a table and of the tables in it."""
    found: list[FieldSpec] = []
    for field in table.fields:
        inner = field.kind.each if isinstance(field.kind, Keyed) else field.kind
        found += [field, *(fields_below(inner) if isinstance(inner, FieldTable) else ())]
    return found


@pytest.mark.parametrize("field", fields_below(AUTOMATION_FIELDS), ids=lambda field: field.name)
def test_every_field_is_described_with_examples_that_are_valid(field: FieldSpec) -> None:
    """Editors have something to show for every field, and every example keeps to its own definition."""
    assert field.about.endswith(".")
    assert field.repair
    assert field.examples
    if isinstance(field.kind, Form):
        for one in field.examples:
            assert Draft202012Validator(dict(field.kind.schema)).is_valid(one)
            field.kind.write(field.kind.read(one))


def test_the_examples_of_sections_are_valid() -> None:
    """Every example of a section keeps to its definition."""
    for one in AUTOMATION_FIELDS.examples:
        assert conforms(one, AUTOMATION_FIELDS)
    for field in AUTOMATION_FIELDS.fields:
        for one in field.examples:
            assert conforms({"version": 1, field.name: one}, AUTOMATION_FIELDS), field.name


def test_nothing_unknown_is_allowed_anywhere() -> None:
    """Every mapping of the schema is closed, so that a slip of a key is never ignored."""

    def objects(part: Any) -> list[dict[str, Any]]:
        if isinstance(part, list):
            return [found for one in part for found in objects(one)]
        if not isinstance(part, dict):
            return []
        own = [part] if part.get("type") == "object" else []
        return own + [found for one in part.values() for found in objects(one)]

    found = objects(json_schema(AUTOMATION_FIELDS))
    assert len(found) > len(AUTOMATION_FIELDS.fields)
    assert all(part["additionalProperties"] is not True for part in found)
