"""What a run leaves behind: the record of each step and of the job, and what stands for an action that is used.

In and out: values, and the stub of actions/setup-python.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tests.action.manifest import ActionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.action.commands import Annotation
    from tests.action.values import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubbed:
    """What a used action leaves behind."""

    outputs: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()


Stub: TypeAlias = "Callable[[Mapping[str, str]], Stubbed]"
"""Stands for an action: its inputs in, what it leaves out; raises ActionError for an input it does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """How one step went. ``outcome`` is before ``continue-on-error``, ``conclusion`` after it."""

    key: str
    outcome: Status
    conclusion: Status
    exit: int | None = None
    raw: tuple[str, ...] = ()
    """What it wrote, line by line, nothing masked."""
    log: tuple[str, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How the action went; steps in order, everything else gathered from them."""

    status: Status
    steps: tuple[StepRecord, ...]
    outputs: Mapping[str, str]
    masks: tuple[str, ...]
    early: tuple[Annotation, ...]
    """What the runner said before the first step."""

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return (*self.early, *(note for step in self.steps for note in step.annotations))

    @property
    def exit(self) -> int | None:
        """The exit code of the last script that ran, negative for a signal; None when none did."""
        codes = [step.exit for step in self.steps if step.exit is not None]
        return codes[-1] if codes else None

    @property
    def log(self) -> tuple[str, ...]:
        return tuple(line for step in self.steps for line in step.log)

    @property
    def summary(self) -> str:
        return "\n".join(step.summary for step in self.steps if step.summary)

    @property
    def violations(self) -> tuple[str, ...]:
        return tuple(violation for step in self.steps for violation in step.violations)

    def step(self, key: str) -> StepRecord:
        return next(step for step in self.steps if step.key == key)

    def raw_of(self, key: str) -> tuple[str, ...]:
        """Return what a step wrote, nothing masked."""
        return self.step(key).raw


def setup_python(python: Path) -> Stub:
    """Return a stub of actions/setup-python that puts one interpreter on ``PATH``, whatever version is asked for."""
    known = frozenset(
        {"python-version", "python-version-file", "cache", "cache-dependency-path", "architecture", "check-latest"}
        | {"token", "update-environment", "allow-prereleases", "freethreaded", "pip-version", "pip-install"}
    )

    def use(settings: Mapping[str, str]) -> Stubbed:
        if strange := sorted(settings.keys() - known):
            raise ActionError(f"actions/setup-python has no input '{strange[0]}'")
        version = ".".join(map(str, sys.version_info[:3]))
        outputs = {"python-version": version, "python-path": str(python)}
        if settings.get("update-environment") == "false":
            return Stubbed(outputs=outputs)
        return Stubbed(outputs=outputs, env={"pythonLocation": str(python.parent.parent)}, path=(str(python.parent),))

    return use
