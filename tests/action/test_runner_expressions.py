"""The expressions of an action: what GitHub computes, and what we refuse that it would let pass."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.action.expressions import Scope, condition, evaluate, template
from tests.action.values import ExpressionError, Status

if TYPE_CHECKING:
    from pathlib import Path

CONTEXTS: dict[str, Any] = {
    "inputs": {"command": "Plan", "empty": "", "quoted": "it's"},
    "github": {
        "event_name": "pull_request",
        "event": {"number": 7, "draft": False, "labels": ["a", "B"], "none": None},
    },
    "runner": {"os": "Linux"},
    "env": {"Name": "value"},
    "steps": {"run": {"outcome": "success", "conclusion": "success", "outputs": {"has-changes": "true"}}},
}
SCOPE = Scope(contexts=CONTEXTS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it''s'", "it's"),
        ("inputs.command", "Plan"),
        ("INPUTS.Command", "Plan"),
        ("inputs.command == 'plan'", True),
        ("inputs.command != 'plan'", False),
        ("inputs.empty || 'default'", "default"),
        ("inputs.command && 'then'", "then"),
        ("inputs.empty && 'then'", ""),
        ("!inputs.empty", True),
        ("!(inputs.command == 'plan') || 'x'", "x"),
        ("'a' || 'b' && ''", "a"),
        ("'a' == 'b' == 'false'", False),
        ("steps.run.outputs.has-changes", "true"),
        ("steps.run.outputs.nothing", None),
        ("steps.run.outcome", "success"),
        ("env.Name", "value"),
        ("env.name", None),
        ("github.event.number", 7),
        ("github.event.number == '7'", True),
        ("github.event.number == 'seven'", False),
        ("github.event.nothing.at.all == ''", True),
        ("github.event.draft == '0'", True),
        ("contains('Hello', 'ELL')", True),
        ("contains(github.event.labels, 'b')", True),
        ("startsWith('refs/pull/7', 'REFS/pull/')", True),
        ("format('{1}-{0} {{}}', 'a', 'b')", "b-a {}"),
        ("toJSON(github.event.labels)", '[\n  "a",\n  "B"\n]'),
    ],
)
def test_values(text: str, value: Any) -> None:
    """An expression has the value that GitHub gives it."""
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inputs.comand",
        "inputs.command.more.still",
        "github.evnt_name",
        "steps.other.outputs.x",
        "steps.run.output.x",
        "secrets.KEY",
        "inputs['command']",
        "inputs.*",
        "inputs.",
        "1 == 1",
        "true",
        "'a' < 'b'",
        "'open",
        "(inputs.command",
        "inputs.command)",
        "inputs.command 'x'",
        "fromJSON('{}')",
        "join('a', 'b')",
        "contains('a')",
        "format('{1}', 'a')",
        "format('{', 'a')",
        "success()",
        "hashFiles('*')",
        "inputs.empty && inputs.comand",
    ],
)
def test_refused(text: str) -> None:
    """What is not in the language or not there is an error, also where it would not be reached."""
    with pytest.raises(ExpressionError):
        evaluate(text, SCOPE)


@pytest.mark.parametrize(
    ("text", "status", "holds"),
    [
        ("", Status.SUCCESS, True),
        ("", Status.FAILURE, False),
        ("", Status.CANCELLED, False),
        ("inputs.command == 'plan'", Status.SUCCESS, True),
        ("inputs.command == 'plan'", Status.FAILURE, False),
        ("${{ inputs.command == 'plan' }}", Status.FAILURE, False),
        ("always()", Status.CANCELLED, True),
        ("failure()", Status.FAILURE, True),
        ("failure()", Status.CANCELLED, False),
        ("cancelled()", Status.CANCELLED, True),
        ("!cancelled()", Status.FAILURE, True),
        ("${{ !cancelled() && inputs.command == 'apply' }}", Status.SUCCESS, False),
        ("success() || failure()", Status.FAILURE, True),
    ],
)
def test_conditions(text: str, status: Status, *, holds: bool) -> None:
    """A condition without a status function also asks for success."""
    assert condition(text, Scope(contexts=CONTEXTS, status=status)) is holds


def test_condition_beside_text_is_refused() -> None:
    """Text beside an expression would make a condition that always holds."""
    with pytest.raises(ExpressionError, match="always true"):
        condition("${{ inputs.command == 'apply' }} && inputs.empty", Scope(contexts=CONTEXTS, status=Status.SUCCESS))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain $HOME {{x}}", "plain $HOME {{x}}"),
        ("${{ inputs.command }}-${{github.event.number}}", "Plan-7"),
        ("${{ '}}' }}", "}}"),
        ("${{ inputs.quoted }}", "it's"),
        ("${{ github.event.draft }}", "false"),
        ("${{ github.event.none }}", ""),
        ("${{ github.event }}", "Object"),
        ("${{ github.event.labels }}", "Array"),
    ],
)
def test_templates(text: str, made: str) -> None:
    """Expressions in a text become the text of their values, whose own text is not looked at again."""
    assert template(text, SCOPE) == made


def test_a_template_without_end_is_refused() -> None:
    """An expression that does not end is an error, not text."""
    with pytest.raises(ExpressionError, match="missing"):
        template("${{ inputs.command }", SCOPE)


def test_hash_files(tmp_path: Path) -> None:
    """hashFiles hashes the hashes of what matches in the workspace, and is empty when nothing does."""
    (tmp_path / "a.txt").write_text("x")
    scope = Scope(contexts=CONTEXTS, workspace=tmp_path)
    inner = hashlib.sha256(b"x").digest()
    assert evaluate("hashFiles('**/*.txt')", scope) == hashlib.sha256(inner).hexdigest()
    assert evaluate("hashFiles('*.md')", scope) == ""
