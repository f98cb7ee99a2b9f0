"""Reads a composite ``action.yml``, strictly: a key that nobody would obey is an error.

In: a folder that holds ``action.yml``. Out: a ``Manifest``. Every scalar is text, as GitHub's own reader leaves it.
https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT_KEYS = frozenset({"name", "description", "author", "branding", "inputs", "outputs", "runs"})
RUN_KEYS = frozenset({"name", "id", "if", "run", "shell", "env", "working-directory", "continue-on-error"})
USES_KEYS = frozenset({"name", "id", "if", "uses", "with", "env", "continue-on-error"})
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
PINNED = re.compile(r"(?P<action>[A-Za-z0-9_.-]+/[A-Za-z0-9_./-]+)@(?P<sha>[0-9a-f]{40})")


class ActionError(Exception):
    """An action that GitHub, or our house rules, would not accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input; GitHub does not check ``required``, an action has to do that itself."""

    default: str
    required: bool
    deprecated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: a script for bash, or another action with its version pinned by SHA."""

    key: str
    """The id, or ``step-3`` for the third step when it has none."""
    has_id: bool
    name: str
    condition: str
    env: Mapping[str, str]
    continue_on_error: str
    script: str | None
    folder: str
    uses: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An action: what goes in, what comes out (name to expression), and its steps in order."""

    folder: Path
    inputs: Mapping[str, Input]
    outputs: Mapping[str, str]
    steps: tuple[Step, ...]


class _Loader(yaml.BaseLoader):
    """Text for every scalar, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ActionError(f"line {node.start_mark.line + 1}: {twice[0]} stands there twice")
        return super().construct_mapping(node, deep)


def load(folder: Path) -> Manifest:
    """Read ``action.yml``; raises ActionError with the place of the first fault."""
    return replace(_manifest((folder / "action.yml").read_text(encoding="utf-8")), folder=folder)


@lru_cache(maxsize=4)  # hundreds of tests run the same action, and reading it takes 30 ms
def _manifest(text: str) -> Manifest:
    """Return what a text says; its folder is not known yet."""
    read = yaml.load(text, Loader=_Loader)
    root = _mapping(read, "action.yml", ROOT_KEYS, needs=("name", "description", "runs"))
    runs = _mapping(root["runs"], "runs", frozenset({"using", "steps"}), needs=("using", "steps"))
    if runs["using"] != "composite" or not isinstance(runs["steps"], list) or not runs["steps"]:
        raise ActionError("runs: not a composite action with steps")
    steps = tuple(_step(step, number) for number, step in enumerate(runs["steps"], start=1))
    keys = [step.key for step in steps]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ActionError(f"runs.steps: the id '{twice[0]}' stands there twice")
    outputs = {
        name: _mapping(output, f"outputs.{name}", frozenset({"description", "value"}), needs=("description", "value"))
        for name, output in _named(root, "outputs").items()
    }
    return Manifest(
        folder=Path(),
        inputs={name: _input(name, body) for name, body in _named(root, "inputs").items()},
        outputs={name: output["value"] for name, output in outputs.items()},
        steps=steps,
    )


def _input(name: str, body: Any) -> Input:
    keys = frozenset({"description", "required", "default", "deprecationMessage"})
    read = _mapping(body, f"inputs.{name}", keys, needs=("description",))
    if read.get("required", "false") not in ("true", "false"):
        raise ActionError(f"inputs.{name}.required: neither true nor false")
    return Input(
        default=read.get("default", ""),
        required=read.get("required") == "true",
        deprecated=read.get("deprecationMessage", ""),
    )


def _step(body: Any, number: int) -> Step:
    place = f"runs.steps[{number}]"
    uses = isinstance(body, dict) and "uses" in body
    read = _mapping(body, place, USES_KEYS if uses else RUN_KEYS, needs=("uses",) if uses else ("run", "shell"))
    key = read.get("id", "")
    if key and (not NAME.fullmatch(key) or key.startswith("__")):
        raise ActionError(f"{place}.id: '{key}' is none")
    if uses and not PINNED.fullmatch(read["uses"]):
        raise ActionError(f"{place}.uses: '{read['uses']}' is not pinned by a full SHA")
    if not uses and read["shell"] != "bash":
        raise ActionError(f"{place}.shell: '{read['shell']}' is not bash")
    if not uses and "${{" in read["run"]:
        raise ActionError(f"{place}.run: an expression in a script lets its value become code; hand it over by env")
    return Step(
        key=key or f"step-{number}",
        has_id=bool(key),
        name=read.get("name", ""),
        condition=read.get("if", ""),
        env=_texts(read, "env", place),
        continue_on_error=read.get("continue-on-error", "false"),
        script=None if uses else read["run"],
        folder=read.get("working-directory", ""),
        uses=read["uses"] if uses else "",
        settings=_texts(read, "with", place),
    )


def _mapping(read: Any, place: str, known: frozenset[str], *, needs: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise ActionError(f"{place}: not a mapping")
    if strange := sorted(read.keys() - known):
        raise ActionError(f"{place}: '{strange[0]}' is not known there")
    if missing := [key for key in needs if key not in read]:
        raise ActionError(f"{place}: '{missing[0]}' is missing")
    return read


def _named(root: dict[str, Any], section: str) -> dict[str, Any]:
    read = root.get(section, {})
    if not isinstance(read, dict):
        raise ActionError(f"{section}: not a mapping")
    for name in read:
        if not NAME.fullmatch(name):
            raise ActionError(f"{section}: '{name}' is no name")
    if len({name.lower() for name in read}) < len(read):
        raise ActionError(f"{section}: two names differ in case only")
    return read


def _texts(read: dict[str, Any], key: str, place: str) -> dict[str, str]:
    found = read.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ActionError(f"{place}.{key}: not a mapping of texts")
    return found
