"""Options as they are declared for the command line, and as the values that a command gets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click
import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from reconciler.cli.commands import MAKERS
from reconciler.cli.door import prepared
from reconciler.cli.main import run
from reconciler.cli.options import ServiceOptions, options_of
from reconciler.cli.output import Format
from reconciler.cli.service import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Shell

ARGUMENTS = {
    "show": "plan.json",
    "explain": "aaa",
    "rebalance": "aaa",
    "journal import": "journal.json",
    "sandbox load": "seed.yaml",
    "sandbox advance": "3d",
    "halt lift": "20261122-7f3a9c",
}
"""What a command can't do without."""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its path."""
    for name, make in MAKERS.items():
        made = make()
        if isinstance(made, click.Group):
            yield from ((f"{name} {inner}", command) for inner, command in made.commands.items())
        else:
            yield name, made
            for inner, below in getattr(made, "commands", {}).items():  # `halt` is a command and has some below it
                yield f"{name} {inner}", below()


def leaves(kind: type[Struct]) -> dict[str, bool]:
    """Return the names of all options in the groups of a kind, and whether each has to be given."""
    found: dict[str, bool] = {}
    for field in fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            found |= leaves(field.type)
        else:
            found[field.name] = field.default is NODEFAULT and field.default_factory is NODEFAULT
    return found


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda given: given if isinstance(given, str) else ""
)
def test_every_option_reaches_the_command(path: str, command: click.Command) -> None:
    """Each declared option is a field of the command's options, and both leave the same unsaid."""
    call = command.callback
    assert isinstance(call, partial)
    name, target = call.args
    assert name == path.rsplit(maxsplit=1)[-1]
    params = command.make_context(name, ARGUMENTS.get(path, "").split()).params
    _, options = prepared(target, params)
    needed = leaves(type(options))
    assert params.keys() <= needed.keys()
    assert options == options_of(type(options), {key: value for key, value in params.items() if needed[key]})


def test_values_are_typed() -> None:
    """Words become members, many of them a tuple, and every value stands in its group."""
    line = "--fail-on held --target a --target b -o json"
    params = MAKERS["plan"]().make_context("plan", line.split()).params
    _, options = prepared("plan:plan", params)
    assert options.output.format is Format.JSON
    assert (options.selection.targets, [word.sentence for word in options.fail_on]) == (  # type: ignore[attr-defined]  # PlanOptions
        ("a", "b"),
        ["portfolios are held"],
    )


@pytest.mark.parametrize(("given", "rate"), [("25/s", 25), ("25", 25), ("0.5/s", 0.5), ("1000", 1_000)])
def test_a_rate_is_a_number_of_requests_a_second(given: str, rate: float) -> None:
    """With or without the unit, whole or not."""
    assert ServiceOptions(max_rate=given).max_rate_per_s == rate


@pytest.mark.parametrize(
    "given", ["0", "0/s", "0.0/s", "-1/s", "25/m", "25 /s", "1e3", "inf", "nan", "٣", "x", "", "/s"]
)
def test_what_is_no_rate_is_refused_before_anything_is_sent(shell: Shell, given: str) -> None:
    """Zero, less, another unit and nonsense: wrong usage, with what to write instead."""
    code = run(["status", "--sandbox", "--max-rate", given])
    assert code == 64
    ended = shell("status --sandbox --max-rate 0/s")
    assert "Invalid value for --max-rate: '0/s'" in ended.err
    assert "--max-rate 25/s" in ended.err
    assert ended.out == ""


def test_a_rate_is_kept_by_a_command(shell: Shell) -> None:
    """Four portfolios at one request in a thousand seconds take three thousand, by a clock that skips waits."""
    clock = SystemClock()
    began_ms = clock.ticks_ms()
    assert shell("--max-rate 0.001/s status --sandbox --no-results").code == 0  # the option may stand in front
    assert clock.ticks_ms() - began_ms >= 3_000_000
