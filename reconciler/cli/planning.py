"""Files and live state to a plan: the way that ``plan`` and ``apply`` share.

In: options, a loaded configuration, an open service. Out: a :class:`~reconciler.core.plan.Plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.progress import ReadProgress, bar
from reconciler.cli.service import records_of
from reconciler.cli.wiring import make_selection
from reconciler.core.selection import select
from reconciler.core.verb import Verb
from reconciler.render.text import diagnostics_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.plan import Plan


def policy(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--unverified`` and ``--resume-held``."""
    return unverified(
        click.option(
            "--resume-held",
            "resume_held",
            multiple=True,
            metavar="ID",
            help="Resume this portfolio although somebody else paused it. Repeatable.",
        )(command)
    )


def unverified(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--unverified``."""
    return click.option(
        "--unverified",
        type=click.Choice(["write", "skip", "fail"]),
        default="write",
        show_default=True,
        help="What to do about a schedule that can't be known.",
    )(command)


async def make_plan(
    options: Mapping[str, Any],
    configuration: Configuration,
    service: Service,
    output: Output,
    *,
    base: Mapping[PortfolioId, Desired] | None = None,
) -> Plan:
    """Read every selected portfolio and plan; with what a ``base`` declares, every change gets its cause.

    Raises :class:`~reconciler.core.errors.ApiError` when the key is refused; any other failed read blocks its
    portfolio only.
    """
    from reconciler.api.read import read_all
    from reconciler.core.decide import Policy, Unverified
    from reconciler.core.planner import build_plan

    selection = make_selection(options)
    desired = select(configuration.desired, selection)
    held = frozenset(options["resume_held"])
    if unknown := sorted(held - set(desired)):
        raise click.UsageError(f"--resume-held {unknown[0]!r} is not among the selected portfolios.")
    records = records_of(options, service.label)
    with bar(output, "Reading", len(desired)) as shown:
        live = await read_all(service.api, desired, parallelism=options["parallelism"], observer=ReadProgress(shown))
    for note in service.api.notes:
        output.note(f"note: {note}")
    decided = Policy(unverified=Unverified(options["unverified"]), resume_held=held)
    plan = build_plan(
        desired,
        live,
        records,
        base_url=service.label,
        created_ms=service.clock.now_ms(),
        config_digest=configuration.digest,
        config_files=configuration.files,
        selection=selection,
        policy=decided,
        guards=configuration.guards,
        managed=len(configuration.desired),
        warnings=configuration.warnings,
    )
    if base is None:
        return plan
    from reconciler.core.cause import with_causes

    return with_causes(plan, base, live, records, decided)


def parse_allow(allow: tuple[str, ...]) -> dict[Verb, int]:
    """Return the numbers of ``--allow VERB=N`` values. Raises :class:`click.BadParameter`."""
    allowed: dict[Verb, int] = {}
    for text in allow:
        verb, _, number = text.partition("=")
        if verb not in [*Verb] or not (number.isascii() and number.isdigit()):
            raise click.BadParameter(f"{text!r} is not of the form resume=12.", param_hint="--allow")
        allowed[Verb(verb)] = int(number)
    return allowed


def show_warnings(configuration: Configuration, output: Output) -> None:
    """Print the configuration's warnings on stderr."""
    if configuration.warnings and not output.is_json:
        for warning in configuration.warnings:
            output.warn(diagnostics_text([warning], output.note_style).rstrip("\n"))
