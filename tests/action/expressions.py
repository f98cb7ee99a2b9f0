"""The part of GitHub's expression language that our action may use; anything else is an error.

In: the text of one expression or of a template with ``${{ }}`` in it, the contexts and the status of the job. Out: a
value as GitHub computes it, or its text. Stricter than GitHub on purpose: an unknown input, step, property of
``github`` or ``runner``, an operator or function outside the list, a context that the place does not have: each is an
``ExpressionError`` where GitHub would compute an empty string, or fail on its own machine only.

Rules: https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.action.values import FUNCTIONS, ExpressionError, Status, as_text, truth

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATUS_FUNCTIONS = frozenset({"always", "success", "failure", "cancelled"})
ARGUMENTS = {
    **dict.fromkeys(STATUS_FUNCTIONS, (0, 0)),
    "format": (1, 255),
    "contains": (2, 2),
    "startswith": (2, 2),
    "tojson": (1, 1),
    "hashfiles": (1, 255),
}
"""How many arguments each function takes, at least and at most; names have no case."""

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<mark>==|!=|&&|\|\||[!().,]))\s*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What one place in an action sees: contexts by name, and whether status functions mean something there."""

    contexts: Mapping[str, Any]
    workspace: Path | None = None
    status: Status | None = None
    open_ended: frozenset[str] = field(default=frozenset({"env", "github.event"}))
    """Where a name that is not there is an empty value, as on GitHub, and not an error."""


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Path:
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


_Node = _Call | _Path | _Text


class _Parser:
    """Recursive descent: ``||`` over ``&&`` over ``==`` over ``!``; operators become calls."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise ExpressionError(f"not understood at '{text[at:]}' in '{text}'")
            kind = match.lastgroup
            assert kind is not None
            self.tokens.append((kind, match[kind]))
            at = match.end()

    def parse(self) -> _Node:
        node = self.either()
        if self.tokens:
            raise ExpressionError(f"unexpected '{self.tokens[0][1]}' in '{self.text}'")
        return node

    def takes(self, mark: str) -> bool:
        if self.tokens and self.tokens[0] == ("mark", mark):
            self.tokens.pop(0)
            return True
        return False

    def wants(self, mark: str) -> None:
        if not self.takes(mark):
            raise ExpressionError(f"'{mark}' is missing in '{self.text}'")

    def either(self) -> _Node:
        node = self.both()
        while self.takes("||"):
            node = _Call("||", (node, self.both()))
        return node

    def both(self) -> _Node:
        node = self.equality()
        while self.takes("&&"):
            node = _Call("&&", (node, self.equality()))
        return node

    def equality(self) -> _Node:
        node = self.unary()
        while self.tokens and self.tokens[0] in (("mark", "=="), ("mark", "!=")):
            _, mark = self.tokens.pop(0)
            node = _Call(mark, (node, self.unary()))
        return node

    def unary(self) -> _Node:
        return _Call("!", (self.unary(),)) if self.takes("!") else self.operand()

    def operand(self) -> _Node:
        if self.takes("("):
            node = self.either()
            self.wants(")")
            return node
        if not self.tokens or self.tokens[0][0] == "mark":
            raise ExpressionError(f"a value is missing in '{self.text}'")
        kind, value = self.tokens.pop(0)
        if kind == "text":
            return _Text(value[1:-1].replace("''", "'"))
        if self.takes("("):
            return self.call(value)
        parts = [value]
        while self.takes("."):
            if not self.tokens or self.tokens[0][0] != "name":
                raise ExpressionError(f"a name is missing after '.' in '{self.text}'")
            parts.append(self.tokens.pop(0)[1])
        return _Path(tuple(parts))

    def call(self, name: str) -> _Node:
        if name.lower() not in ARGUMENTS:
            raise ExpressionError(f"function '{name}' in '{self.text}' is none that we use")
        arguments: list[_Node] = []
        if not self.takes(")"):
            arguments.append(self.either())
            while self.takes(","):
                arguments.append(self.either())
            self.wants(")")
        least, most = ARGUMENTS[name.lower()]
        if not least <= len(arguments) <= most:
            raise ExpressionError(f"'{name}' takes {least} to {most} arguments, not {len(arguments)}")
        return _Call(name.lower(), tuple(arguments))


def evaluate(text: str, scope: Scope) -> Any:
    """Return the value of one expression, without ``${{`` and ``}}``.

    Raises ExpressionError for anything outside the language above, also in a branch that is not taken.
    """
    node = _Parser(text).parse()
    for part in _walk(node):
        if isinstance(part, _Path):
            _lookup(part, scope)
        elif part.name in STATUS_FUNCTIONS and scope.status is None:
            raise ExpressionError(f"'{part.name}()' stands where only 'if' may use it")
        elif part.name == "hashfiles" and scope.workspace is None:
            raise ExpressionError("'hashFiles()' is not known in this place")
    return _value(node, scope)


def condition(text: str, scope: Scope) -> bool:
    """Return whether an ``if`` holds: without a status function in it, ``success()`` is asked for as well."""
    text = text.strip()
    found = _spans(text)
    if found and found != [(0, len(text))]:
        raise ExpressionError(f"'{text}' is always true on GitHub: text stands beside the expression")
    if found:
        text = text[3:-2]
    node = _Parser(text or "success()").parse()
    value = truth(evaluate(text or "success()", scope))
    if any(isinstance(part, _Call) and part.name in STATUS_FUNCTIONS for part in _walk(node)):
        return value
    return value and scope.status is Status.SUCCESS


def template(text: str, scope: Scope) -> str:
    """Return a text with each ``${{ expression }}`` replaced by the text of its value."""
    made, at = "", 0
    for begin, end in _spans(text):
        made += text[at:begin] + as_text(evaluate(text[begin + 3 : end - 2], scope))
        at = end
    return made + text[at:]


def _spans(text: str) -> list[tuple[int, int]]:
    """Return where the expressions stand; an end within a string literal is none."""
    found, at = [], 0
    while (begin := text.find("${{", at)) >= 0:
        inside = re.compile(r"(?:'[^']*'|[^'}]|}(?!}))*}}").match(text, begin + 3)
        if inside is None:
            raise ExpressionError(f"'}}}}' is missing in '{text}'")
        at = inside.end()
        found.append((begin, at))
    return found


def _walk(node: _Node) -> list[_Call | _Path]:
    match node:
        case _Call():
            return [node, *(part for argument in node.arguments for part in _walk(argument))]
        case _Path():
            return [node]
        case _Text():
            return []


def _lookup(path: _Path, scope: Scope) -> Any:
    first = path.parts[0].lower()
    if first not in scope.contexts:
        raise ExpressionError(f"'{'.'.join(path.parts)}': the context '{first}' is not known in this place")
    value: Any = scope.contexts[first]
    walked = first
    for part in path.parts[1:]:
        found = None
        if isinstance(value, dict):
            # The environment keeps its case on Linux; everything else has none.
            names = {part} if first == "env" else {name for name in value if name.lower() == part.lower()}
            found = next((value[name] for name in names if name in value), None)
        known = isinstance(value, dict) and found is not None
        open_here = any(walked == prefix or walked.startswith(prefix + ".") for prefix in scope.open_ended)
        if not known and not open_here and not (first == "steps" and walked.endswith(".outputs")):
            raise ExpressionError(f"'{'.'.join(path.parts)}': '{walked}' has no '{part}'")
        value, walked = found, f"{walked}.{part.lower()}"
    return value


def _value(node: _Node, scope: Scope) -> Any:
    match node:
        case _Text():
            return node.text
        case _Path():
            return _lookup(node, scope)
        case _Call(name="&&", arguments=(left, right)):
            value = _value(left, scope)
            return _value(right, scope) if truth(value) else value
        case _Call(name="||", arguments=(left, right)):
            value = _value(left, scope)
            return value if truth(value) else _value(right, scope)
        case _Call():
            return FUNCTIONS[node.name](
                scope.status, scope.workspace, *(_value(argument, scope) for argument in node.arguments)
            )
