"""``reconciler doctor``: is everything in place for a plan and an apply? Writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.cli.files import load_files_if_any
from reconciler.cli.options import FileOptions, Options, ServiceOptions
from reconciler.cli.service import open_service, proxy_of, run_async
from reconciler.core.endpoint import NOTHING
from reconciler.core.errors import ApiError, ConfigInvalid, JournalError, ReconcilerError, exit_reason_of
from reconciler.render.doctor import doctor_document, doctor_page
from reconciler.render.ending import Ending, View

if TYPE_CHECKING:
    from reconciler.config.load import Configuration
    from reconciler.core.doctor import Check
    from reconciler.render.ending import Found


class DoctorOptions(Options, frozen=True, kw_only=True):
    """The options of ``doctor``."""

    files: FileOptions = FileOptions()
    service: ServiceOptions = ServiceOptions()


def doctor(options: DoctorOptions, found: Found) -> Ending:
    """Ask and judge."""
    from reconciler.core.doctor import exit_reason

    configuration, files = _files(options.files)
    checks = (
        _program(),
        files,
        _journal(options.service),
        _proxy(options.service),
        *run_async(lambda: _service(options.service, configuration)),
    )
    view = View(
        page=lambda: doctor_page(checks),
        body=lambda: {"checks": doctor_document(checks)},
    )
    return Ending(reason=exit_reason(checks), found=found, view=view)


def _program() -> Check:
    import platform

    from reconciler import TOOL
    from reconciler.core.doctor import CheckId, ok

    return ok(CheckId.PROGRAM, f"{TOOL}, Python {platform.python_version()}, {platform.system() or 'unknown system'}")


def _files(options: FileOptions) -> tuple[Configuration, Check]:
    from reconciler.config.load import Configuration
    from reconciler.core.doctor import CheckId, check_files, fail

    try:
        configuration = load_files_if_any(options)
    except ConfigInvalid as invalid:
        return Configuration(), check_files(invalid, None)
    except ReconcilerError as error:
        return Configuration(), fail(CheckId.FILES, str(error), error.detail.rstrip("."))
    if not configuration.files:
        return configuration, check_files(None, None)
    declared = len(configuration.desired) + len(configuration.strategies)
    return configuration, check_files(None, (declared, len(configuration.files), len(configuration.warnings)))


def _journal(options: ServiceOptions) -> Check:
    from reconciler.apply.journalreads import read_facts
    from reconciler.cli.journalplace import UNTRACK, is_tracked
    from reconciler.core.doctor import CheckStatus, JournalFacts, check_journal, warn

    path = options.journal_place
    found: JournalFacts | ReconcilerError | None
    try:
        found = read_facts(path)
    except JournalError as error:
        found = error
    check = check_journal(str(path), found)
    if check.status is not CheckStatus.FAIL and is_tracked(path):
        return warn(check.id, f"{check.finding}; Git tracks it", UNTRACK.rstrip("."))
    return check


def _proxy(options: ServiceOptions) -> Check:
    """Say which proxy is used, without what stands before the host: that may be a password."""
    from urllib.parse import urlsplit

    from reconciler.core.doctor import CheckId, ok, skipped

    if options.sandbox is not None:
        return skipped(CheckId.PROXY, "the sandbox runs inside this process")
    if not (proxy := proxy_of(options)):
        return ok(CheckId.PROXY, "none; proxy variables of the environment are not used")
    return ok(CheckId.PROXY, urlsplit(proxy).netloc.rpartition("@")[2] or "given, but not the URL of a host")


async def _service(options: ServiceOptions, configuration: Configuration) -> tuple[Check, ...]:
    from reconciler.core.doctor import CheckId, fail, not_asked

    try:
        return await _asked(options, configuration)
    except ApiError as error:  # no key, or one that can't be sent
        return not_asked(fail(CheckId.KEY, str(error), error.detail.rstrip("."), exit_reason_of(error.kind)))
    except ReconcilerError as error:  # also another service than the files expect, which got no key to see
        return not_asked(fail(CheckId.SERVICE, str(error), error.detail.rstrip("."), error.exit_reason))


async def _asked(options: ServiceOptions, configuration: Configuration) -> tuple[Check, ...]:
    from reconciler.api.key import ask_service
    from reconciler.core.doctor import needed_scopes, service_checks

    desired = configuration.desired
    on_v1 = next((one.id for one in desired.values() if one.api.can.has_two_paths), None)
    read, write = needed_scopes(desired.values(), strategies=len(configuration.strategies) > 0)
    # The account is asked for as one of the checks: another one than the files expect is a finding here.
    expected = configuration.expect if options.sandbox is None else NOTHING
    by_url = replace(expected, account=None)
    async with open_service(options, configuration.paths, expect=by_url, asks_account=False) as service:
        asking = await ask_service(service.api.transport, portfolio=on_v1, clock=service.clock)
    return service_checks(
        asking, where=service.label, configured=configuration.paths, expected=expected, read=read, write=write
    )
