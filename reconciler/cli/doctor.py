"""``reconciler doctor``: is everything in place for a plan and an apply? Writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from reconciler.cli import options as shared
from reconciler.cli.named import expect_in, load_files_if_any, paths_of
from reconciler.cli.service import open_service, run_async
from reconciler.cli.wiring import make_output
from reconciler.core.endpoint import NOTHING
from reconciler.core.errors import ApiError, ConfigInvalid, JournalError, ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.config.load import Configuration
    from reconciler.core.doctor import Check
    from reconciler.core.errors import ExitReason

HELP = """Check key, account, scopes, service, v1 paths, rate limit, clock, journal and files.

Reads only. At most seven requests, each sent once and given up after 10 seconds; of the key nothing is shown. Which v1
paths there are is inferred from a GET of POST-only routes below one declared portfolio.

\b
  reconciler doctor
  reconciler doctor -f fleet/ -o json
  reconciler doctor --sandbox

Exits 0 when no check fails, else 7 for the key and its account, 8 when the service can't be reached, 1 for anything
else.
"""


@click.command(help=HELP)
@shared.files
@shared.service
@shared.output("text", "json")
def doctor(**options: Any) -> ExitReason:
    """Ask, judge, show."""
    from reconciler.core.doctor import exit_reason

    output = make_output(options)
    configuration, files = _files(options["sources"])
    checks = (
        _program(),
        files,
        _journal(options["journal"]),
        _proxy(options),
        *run_async(lambda: _service(options, configuration)),
    )
    reason = exit_reason(checks)
    if output.is_json:
        from reconciler.render.doctor import doctor_document
        from reconciler.render.json import document_json

        output.data(document_json(reason, {"checks": doctor_document(checks)}))
    else:
        from reconciler.render.doctor import doctor_text

        output.data(doctor_text(checks, output.style))
    return reason


def _program() -> Check:
    import platform

    from reconciler import TOOL
    from reconciler.core.doctor import CheckId, ok

    return ok(CheckId.PROGRAM, f"{TOOL}, Python {platform.python_version()}, {platform.system() or 'unknown system'}")


def _files(sources: tuple[str, ...]) -> tuple[Configuration | None, Check]:
    from reconciler.core.doctor import CheckId, check_files, fail

    try:
        configuration = load_files_if_any(sources)
    except ConfigInvalid as invalid:
        return None, check_files(invalid, None)
    except ReconcilerError as error:
        return None, fail(CheckId.FILES, str(error), error.detail.rstrip("."))
    if configuration is None:
        return None, check_files(None, None)
    declared = len(configuration.desired) + len(configuration.strategies)
    return configuration, check_files(None, (declared, len(configuration.files), len(configuration.warnings)))


def _journal(path: str) -> Check:
    from reconciler.apply.journalfile import read_facts
    from reconciler.cli.journalplace import UNTRACK, is_tracked
    from reconciler.core.doctor import CheckStatus, JournalFacts, check_journal, warn

    found: JournalFacts | ReconcilerError | None
    try:
        found = read_facts(Path(path))
    except JournalError as error:
        found = error
    check = check_journal(path, found)
    if check.status is not CheckStatus.FAIL and is_tracked(Path(path)):
        return warn(check.id, f"{check.finding}; Git tracks it", UNTRACK.rstrip("."))
    return check


def _proxy(options: Mapping[str, Any]) -> Check:
    """Say which proxy is used; what stands before the host may be a password."""
    from urllib.parse import urlsplit

    from reconciler.core.doctor import CheckId, ok, skipped

    if options["sandbox"] is not None:
        return skipped(CheckId.PROXY, "the sandbox runs inside this process")
    if not options["proxy"]:
        return ok(CheckId.PROXY, "none; proxy variables of the environment are not used")
    return ok(CheckId.PROXY, urlsplit(options["proxy"]).netloc.rpartition("@")[2] or "given, but no URL of a host")


async def _service(options: Mapping[str, Any], configuration: Configuration | None) -> tuple[Check, ...]:
    from reconciler.core.doctor import CheckId, fail, not_asked

    try:
        return await _asked(options, configuration)
    except ApiError as error:  # no key, or one that can't be sent
        return not_asked(fail(CheckId.KEY, str(error), error.detail.rstrip("."), _reason_of(error)))
    except ReconcilerError as error:  # also another service than the files expect, which got no key to see
        return not_asked(fail(CheckId.SERVICE, str(error), error.detail.rstrip("."), error.exit_reason))


async def _asked(options: Mapping[str, Any], configuration: Configuration | None) -> tuple[Check, ...]:
    from reconciler.api.key import ask_service
    from reconciler.core.doctor import needed_scopes, service_checks

    desired = configuration.desired if configuration is not None else {}
    on_v1 = next((one.id for one in desired.values() if one.api.can.has_two_paths), None)
    strategies = configuration is not None and len(configuration.strategies) > 0
    read, write = needed_scopes(desired.values(), strategies=strategies)
    # The account is asked for as one of the checks: another one than the files expect is a finding here.
    expected = expect_in(configuration) if options["sandbox"] is None else NOTHING
    by_url = replace(expected, account=None)
    async with open_service(options, paths_of(configuration), expect=by_url, asks_account=False) as service:
        asking = await ask_service(service.api.transport, portfolio=on_v1, clock=service.clock)
    return service_checks(
        asking, where=service.label, configured=paths_of(configuration), expected=expected, read=read, write=write
    )


def _reason_of(error: ApiError) -> ExitReason:
    from reconciler.core.errors import exit_reason_of

    return exit_reason_of(error.kind)
