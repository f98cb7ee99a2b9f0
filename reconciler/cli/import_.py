"""``reconciler import``: what is live, as files that declare exactly that.

The portfolios are read by their ids, from the list of v2, or both; then their names and strategies. What files declare
already is not read, and no file is ever overwritten.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from reconciler.cli.files import standard_input, today
from reconciler.cli.ids import ids_of
from reconciler.cli.options import FileOptions, Options, ServiceOptions
from reconciler.cli.progress import ReadProgress, bar, read_with_bar
from reconciler.cli.savefile import replace_file, require_place, save_new
from reconciler.cli.service import memory_of, open_service, run_async, shared_reason
from reconciler.config.load import Configuration
from reconciler.core.adoption import Adoptable
from reconciler.core.endpoint import NOTHING, expect_of
from reconciler.core.errors import ApiError, ExitReason, JournalError, ReconcilerError, UsageError
from reconciler.core.fleet import PortfolioList
from reconciler.core.model import ApiVersion, StrategyId, StrategyStatus, address_of, strategy_of
from reconciler.render.ending import Ending, View

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.cli.service import Service
    from reconciler.config.emit import Comments
    from reconciler.config.into import Additions
    from reconciler.core.adoption import Adoption, Ground
    from reconciler.core.endpoint import Expect
    from reconciler.core.model import Live, PortfolioId, StrategyLive
    from reconciler.render.ending import Found


class ImportOptions(Options, frozen=True, kw_only=True):
    """The options of ``import``. ``whole`` means all that v2 lists; ``out`` is a new file, ``into`` one that is there.

    ``version`` is the API of the ids that are given, ``names`` whether the names of v1 portfolios are read.
    """

    portfolios: tuple[str, ...] = ()
    ids_from: str | None = None
    version: ApiVersion | None = None
    whole: bool = False
    names: bool = False
    out: str | None = None
    into: str | None = None
    files: FileOptions = FileOptions()
    service: ServiceOptions = ServiceOptions()

    @property
    def file(self) -> str | None:
        """Where the YAML is saved; ``None`` means that it goes to stdout."""
        return self.out or self.into


class Beside(Struct, frozen=True, kw_only=True):
    """The files that are there already, and what they hold; ``None`` if there are none."""

    configuration: Configuration = Configuration()
    ground: Ground | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """What was read; ``declared`` are those that were asked for and left alone, sorted."""

    found: Adoptable
    declared: tuple[PortfolioId, ...]
    listed: PortfolioList = field(default_factory=PortfolioList)
    """The list of v2; if it was not read, an empty one that counts as complete."""


def import_(options: ImportOptions, found: Found) -> Ending:
    """Read, lay out, check, write."""
    ids = ids_of(options.portfolios, options.ids_from, options.files)
    _require_sense(options, ids)
    beside = _load_beside(options)
    configuration = beside.configuration
    expected = configuration.expect

    async def work() -> tuple[Reading, str, Expect]:
        async with open_service(options.service, configuration.paths, expect=expected) as service:
            # Files that say it, or leave it out on purpose, stay as they are.
            expect = expect_of(url=service.label, account=service.account) if expected.empty else NOTHING
            reading = await _read(ids, options, configuration, service)
            options.output.notes(service.notes)
            await _keep(reading, options, service)
            return reading, service.label, expect

    reading, base_url, expect = run_async(work)
    return _write(reading, base_url, beside, options, found, expect=expect)


def _require_sense(options: ImportOptions, ids: tuple[PortfolioId, ...]) -> None:
    """Raise :class:`~reconciler.core.errors.UsageError` for options that name nothing, or contradict each other."""
    if options.out is not None and options.into is not None:
        raise UsageError("--out makes a new file and --into adds to one: drop one of them.")
    if "-" in (options.out, options.into):
        raise UsageError("`-` is not a file here. Leave out --out and --into, and the YAML goes to stdout.")
    if options.out is not None:
        require_place(options.out, what="import", new=True)
    if options.into is not None and not os.path.isfile(options.into):  # noqa: PTH113 - a name that no system knows is no error here
        raise UsageError(f"--into {options.into}: there is no such file; make one with --out.")
    if ids:
        return
    lists = options.version is not None and options.version.can.lists
    if options.version is None and not options.whole:
        raise UsageError("No portfolio is named. v1 has no list, so give ids or --ids-from; --all takes what v2 lists.")
    if not lists and not options.whole:
        raise UsageError("v1 has no list: give ids or --ids-from.")
    if not lists and options.version is not None:
        raise UsageError("--all takes what v2 lists, and v1 has no list: drop --api v1, or give ids.")


def _load_beside(options: ImportOptions) -> Beside:
    """Load the files that are there, and the one that is added to."""
    from reconciler.config.files import DEFAULTS, is_yaml
    from reconciler.config.into import load_ground

    # A folder that is only just made, for what comes out of this, holds no files yet.
    sources = list(options.files.sources) or [
        name for name in DEFAULTS if Path(name).is_file() or any(is_yaml(file.name) for file in Path(name).rglob("*"))
    ]
    if options.into is not None:
        sources.append(options.into)
    if not sources:
        return Beside()
    configuration, ground = load_ground(sources, stdin=standard_input, today=today(), cwd=Path.cwd())
    return Beside(configuration=configuration, ground=ground)


async def _read(
    ids: tuple[PortfolioId, ...], options: ImportOptions, configuration: Configuration, service: Service
) -> Reading:
    """Read everything that is wanted and not declared. Raises :class:`ApiError` only for a refused key."""
    declared, strategies = configuration.desired, configuration.strategies
    listed = await service.api.list_portfolios() if options.whole or not ids else PortfolioList()
    version = options.version or configuration.default_api
    named = [portfolio for portfolio in ids if portfolio not in declared]
    versions = dict.fromkeys(named, version)
    # Who names a portfolio says by which API it is managed: by one of them, never by both (API facts §4.9).
    elsewhere = {i for i, version in versions.items() if not version.can.lists}
    rows = {i: live for i, live in listed.rows.items() if i not in declared and i not in elsewhere}
    singly = [portfolio for portfolio in named if portfolio not in rows]
    read = await read_with_bar(service.api.by(versions), singly, options.output, options.service.parallelism)
    live = {**rows, **read}
    found = Adoptable(
        live={portfolio: live[portfolio] for portfolio in sorted(live)},
        versions={portfolio: versions.get(portfolio, ApiVersion.V2) for portfolio in live},
        records=memory_of(options.service, service).records,
        names=await _names(read, options, service) if options.names else {},
        strategies=await _strategies(live, strategies, options.service, service),
    )
    return Reading(found=found, declared=tuple(sorted({*ids, *listed.rows} & set(declared))), listed=listed)


async def _names(
    read: Mapping[PortfolioId, Live], options: ImportOptions, service: Service
) -> dict[PortfolioId, str | ApiError | None]:
    from reconciler.api.fleet import read_names
    from reconciler.core.model import Status

    there = [i for i, live in read.items() if live.status not in (Status.NOT_FOUND, Status.UNREADABLE)]
    nameless = [portfolio for portfolio in there if read[portfolio].name is None]
    with bar(options.output, "Reading names", len(nameless)) as shown:
        return await read_names(
            service.api.by(dict.fromkeys(nameless, ApiVersion.V1)),
            nameless,
            parallelism=options.service.parallelism,
            observer=ReadProgress(shown),
        )


async def _strategies(
    live: Mapping[PortfolioId, Live], declared: Collection[StrategyId], options: ServiceOptions, service: Service
) -> Mapping[StrategyId, StrategyLive]:
    from reconciler.api.fleet import read_cadences

    named = {StrategyId(one.strategy) for one in live.values() if one.strategy is not None}
    # An id that may not stand in a URL can't be one of ours either.
    wanted = sorted(one for one in named - set(declared) if strategy_of(address_of(one)) is not None)
    return await read_cadences(service.api, wanted, parallelism=options.parallelism)


async def _keep(reading: Reading, options: ImportOptions, service: Service) -> None:
    """Let the journal keep what the reads prove about schedules, so that our first pause does not lose it.

    If that fails, a note says so and the import goes on: people import for the files, not for the journal.
    """
    from reconciler.cli.writing import open_to_write
    from reconciler.core.evidence import observed
    from reconciler.core.ports import Memory

    known = Memory(records=reading.found.records)
    proven = observed(known, reading.found.live, now_ms=service.api.service_ms())
    if not proven:
        return
    try:
        with await open_to_write(options.service, service, lock_timeout="0s") as journal:
            journal.confirm(proven)
    except JournalError as error:
        options.output.note(f"note: what was seen of schedules could not be kept: {error}")


def _write(
    reading: Reading, base_url: str, beside: Beside, options: ImportOptions, found: Found, *, expect: Expect
) -> Ending:
    """Make the files of what was read; ``expect`` is what they are to say of the service."""
    from reconciler.core.adoption import make_adoption
    from reconciler.render.coverage import adoption_document, list_problem_of

    adoption = make_adoption(reading.found, ground=beside.ground, reuse=options.into is not None)
    listed = reading.listed
    problem = list_problem_of(str(listed.failure) if listed.failure is not None else None, listed.unreadable)
    text = None
    if not adoption.empty:
        text = _save(adoption, base_url, problem, beside.configuration, options, expect=expect)
    _say(reading, adoption, problem, options)
    shown = text if options.file is None else None
    body = adoption_document(adoption, base_url=base_url, declared=reading.declared, list_problem=problem)
    view = View(shown=shown or "", body={**body, "file": options.file, "yaml": shown})
    reason = import_reason(reading, adoption)
    unsaid = reason is ExitReason.ERROR and adoption.empty and not adoption.omitted and problem is None
    errors = ("there is nothing to import: the list of v2 portfolios is empty",) if unsaid else ()
    return Ending(reason=reason, found=found, view=view, errors=errors)


def import_reason(reading: Reading, adoption: Adoption) -> ExitReason:
    """Return what an import exits with: an error if anything could not be read.

    If nothing was imported at all, it is the one reason that all failures share, such as a service that is down.
    """
    failures: list[ApiError | None] = [one.failure for one in adoption.omitted if one.reason.is_failure]
    failures += [live.failure for live in reading.found.strategies.values() if live.status is StrategyStatus.UNREADABLE]
    failures += [name for name in reading.found.names.values() if isinstance(name, ApiError)]
    failures += [reading.listed.failure] if reading.listed.failure is not None else []
    failures += [None] if reading.listed.unreadable else []
    if not adoption.empty:
        return ExitReason.ERROR if failures else ExitReason.OK
    if failures:
        return shared_reason(failures)
    return ExitReason.ERROR if adoption.omitted or not reading.declared else ExitReason.OK


def _save(
    adoption: Adoption,
    base_url: str,
    problem: str | None,
    configuration: Configuration,
    options: ImportOptions,
    *,
    expect: Expect,
) -> str:
    """Write the YAML where it is to go, after it was read again; return it. Raises ``ReconcilerError``."""
    from reconciler.config.emit import Comments, emit
    from reconciler.config.into import Additions, require_exactly
    from reconciler.core.sections import SCHEMA_ID
    from reconciler.core.text import plural
    from reconciler.render.coverage import head_lines, tail_lines

    comments = Comments(
        head=head_lines(base_url),
        portfolios={i: "; ".join(notes) for i, notes in adoption.notes.items()},
        strategies={s: f"{plural(adoption.enrolled[s], 'portfolio')} imported with it" for s in adoption.strategies},
        tail=tail_lines(adoption, problem),
    )
    added = Additions(portfolios=adoption.layout.desired, strategies=adoption.strategies, expect=expect)
    if options.into is not None:
        return _add(adoption, comments, added, configuration, options.into)
    text = emit(adoption.layout, adoption.strategies, comments, expect=expect, schema=SCHEMA_ID)
    require_exactly({**configuration.texts, "<imported>": text.encode()}, configuration, added, today=today())
    if options.out is not None:
        save_new(options.out, text, what="import")
    return text


def _add(adoption: Adoption, comments: Comments, added: Additions, configuration: Configuration, into: str) -> str:
    """Add to a file; return its new text. Raises ``ReconcilerError``."""
    from reconciler.config.into import add_to, name_of, require_exactly

    name = name_of(configuration, Path(into), Path.cwd())
    if name is None:  # it was loaded a moment ago
        raise ReconcilerError(f"{into} was moved in the meantime", "Run it again.")
    before = configuration.texts[name]
    after = add_to(before, adoption.layout, added, comments)
    require_exactly({**configuration.texts, name: after}, configuration, added, today=today())
    replace_file(into, before, after, what="import")
    return after.decode("utf-8")


def _say(reading: Reading, adoption: Adoption, problem: str | None, options: ImportOptions) -> None:
    """Say on stderr what the import did: failures always, the rest unless ``--quiet``."""
    from reconciler.render.coverage import imported_line, omitted_line

    output, file = options.output, options.file
    for one in adoption.omitted:
        say = output.warn if one.reason.is_failure else output.note
        say(f"left out: {omitted_line(one)}")
    for strategy, why in adoption.left.items():
        output.note(f"not declared: strategy {strategy}: {why}")
    nameless = sum(not isinstance(name, str | None) for name in reading.found.names.values())
    if nameless:
        output.warn(f"the names of {nameless} could not be read")
    if problem is not None:
        output.warn(problem)
    where = f" Saved to {file}; look at it with: reconciler plan -f {file}" if file and not adoption.empty else ""
    output.note(f"{imported_line(adoption, len(reading.declared))}{where}")
