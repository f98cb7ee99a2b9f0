"""Live files: ``status --out`` saves one, of the whole fleet or a share of it; ``plan --live`` plans from them, without
a key or a service.

In: options, a loaded configuration, and what was read or the names of live files. Out: a file, or a plan that says
"as of". What was confirmed comes from the journal of whoever plans, never from the files.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from reconciler.cli.planning import Reads, plan_of, policy_of, require_found, selected
from reconciler.cli.savefile import save
from reconciler.cli.service import SystemClock, account_remarks
from reconciler.cli.strategies import read_cadences_of, saved_strategies
from reconciler.core.endpoint import require_expected
from reconciler.core.errors import UsageError
from reconciler.core.fleet import select_strategies
from reconciler.core.plan import ShareCount

_ROUND: Final = r"(?a)[\w.:+-]{1,100}"

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.cli.options import JournalOptions, PlanningOptions, ServiceOptions
    from reconciler.cli.planning import Declared
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.errors import ApiError
    from reconciler.core.fleet import Fleet
    from reconciler.core.livefile import JoinedLive, LiveFile
    from reconciler.core.model import Desired, PortfolioId
    from reconciler.core.plan import Plan
    from reconciler.core.ports import Memory
    from reconciler.core.shares import Shard


def plan_offline(
    options: PlanningOptions, live: Sequence[str], configuration: Configuration, *, base: Declared | None = None
) -> Plan:
    """Plan from live files; a selected portfolio that they don't hold is blocked.

    Raises :class:`~reconciler.core.errors.UsageError` if an option names a service as well,
    :class:`~reconciler.core.errors.LiveInvalid` for files that can't be used, and
    :class:`~reconciler.core.errors.NotExpected` for a service or an account that the configuration does not expect.
    """
    desired = selected(options, configuration)
    policy = policy_of(options, desired)
    reads = saved_reads(options, live, configuration, desired)
    return plan_of(options, configuration, desired, policy, reads, base=base)


def saved_reads(
    options: PlanningOptions, live: Sequence[str], configuration: Configuration, desired: Mapping[PortfolioId, Desired]
) -> Reads:
    """Return what live files hold of these portfolios; see :func:`plan_offline`."""
    found = load_joined(options.service, live)
    if not found.base_url.startswith("sandbox:"):
        require_expected(configuration.expect, url=found.base_url, account=found.account)
        options.output.notes(account_remarks(configuration.expect, found.account, writes=False))
    fleet = found.fleet_of(desired, whole=options.selection.selection.everything)
    require_found(fleet.live, found.base_url, found.account)
    memory = saved_memory(options.service, found)
    return Reads(
        base_url=found.base_url,
        account=found.account,
        fleet=fleet,
        memory=memory,
        created_ms=SystemClock().now_ms(),
        now_ms=found.as_of_ms,
        as_of_ms=found.as_of_ms,
        shares=ShareCount(round=found.round, of=found.of, missing=found.missing),
        read_ms=found.read_ms,
        strategies=saved_strategies(options, configuration, found, fleet, memory),
    )


def load_joined(options: ServiceOptions, live: Sequence[str]) -> JoinedLive:
    """Return what live files, given by names or globs, hold together. Raises as :func:`plan_offline` does.

    A service that the environment names is ignored, not refused.
    """
    from reconciler.core.livefile import join_live

    named = {
        "--base-url": options.base_url,
        "--sandbox": options.sandbox,
        "--proxy": options.proxy,
        "--max-rate": options.max_rate,
    }
    if given := [option for option, value in named.items() if value is not None]:
        raise UsageError(f"--live plans from a file and asks no service: drop {' and '.join(given)}.")
    return join_live([(name, load_live(name)) for name in dict.fromkeys(_matching(live))])


def _matching(live: Sequence[str]) -> Iterator[str]:
    """Yield the files that are meant, sorted for each glob. A glob that matches nothing is tried as a name."""
    import glob

    for name in live:
        found = [] if os.path.lexists(name) else sorted(glob.glob(name))  # noqa: PTH207 - keeps the name as it is given
        yield from found or [name]


def saved_memory(options: JournalOptions, found: JoinedLive) -> Memory:
    """Return what the journal and the files of halts know now. ``outdated`` are the portfolios that were read before a
    write of ours; their records are left out, because they are about a later state than the one that was read.
    """
    from reconciler.apply.journalreads import read_memory, read_written
    from reconciler.cli.haltfiles import with_filed

    path, base_url, account = options.journal_place, found.base_url, found.account
    memory = read_memory(path, base_url=base_url, account=account, now_ms=SystemClock().now_ms())
    memory = with_filed(memory, base_url, account)
    # In this order: a write that falls between the two is seen by the second.
    written = read_written(path, base_url=base_url, account=account, since_ms=found.as_of_ms)
    outdated = frozenset(i for i, ended_ms in written.items() if ended_ms >= found.read_ms.get(i, found.as_of_ms))
    if not outdated:
        return memory
    records = {i: record for i, record in memory.records.items() if i not in outdated}
    return replace(memory, records=records, outdated=outdated)


def shard_of(text: str | None) -> Shard:
    """Return the share that ``--shard`` means; without it the whole. Raises as ``parse_shard`` does."""
    from reconciler.core.shares import WHOLE, parse_shard

    return parse_shard(text, os.environ) if text is not None else WHOLE


def owned(text: str, desired: Mapping[PortfolioId, Desired]) -> Mapping[PortfolioId, Desired]:
    """Return what the share that ``--shard`` means reads of these portfolios."""
    shard = shard_of(text)
    return {i: one for i, one in desired.items() if shard.owns(i, one.api)}


def round_of(text: str | None) -> str:
    """Return the word that the shares of one round have in common: the given one, else the id of the CI run, else a
    random one."""
    if text is None:
        from secrets import token_hex

        from reconciler.cli.writing import origin_of

        return origin_of(os.environ).ci_run or token_hex(8)
    if not re.fullmatch(_ROUND, text):
        raise UsageError(f"Invalid value for --round: {text!r}.", "Write a word such as 2026-11-29, of 100 characters.")
    return text


async def save_live(
    file: str,
    options: PlanningOptions,
    configuration: Configuration,
    service: Service,
    fleet: Fleet,
    *,
    shard: str | None,
    round_: str | None,
    as_of_ms: int,
) -> tuple[ApiError, ...]:
    """Save what was read, and say so. The first share holds the selected strategies, and the list that tells whom they
    reach.

    Failed reads are saved, too, so that a plan from the file blocks these portfolios, as a plan made at once would.
    Returns the failed reads of strategies and of the list, which no table shows. ``shard`` and ``round_`` are as typed,
    ``as_of_ms`` is the time before the first read, in UTC epoch milliseconds. Raises
    :class:`~reconciler.core.errors.ApiError` if the key is refused.
    """
    from reconciler.core.livefile import LIVE_FORMAT, LiveFile, format_live

    share = shard_of(shard)
    desired = select_strategies(configuration.strategies, options.selection.selection) if share.is_first else {}
    listed = fleet.listed
    live = await read_cadences_of(desired, options.service, service) if desired else {}
    if desired and listed is None:
        listed = await service.api.list_portfolios()
    found = LiveFile(
        base_url=service.label,
        account=service.account,
        as_of_ms=as_of_ms,
        shard=share,
        round=round_of(round_),
        config_digest=configuration.digest,
        live=fleet.live,
        versions={i: configuration.desired[i].api for i in fleet.live},
        listed=listed,
        strategies=live,
    )
    save(file, format_live(found), what="live file", begins=LIVE_FORMAT.begins, largest=LIVE_FORMAT.largest)
    failures = [one.failure for one in live.values()] + ([listed.failure] if listed is not None else [])
    unseen = tuple(failure for failure in failures if failure is not None)
    for failure in unseen:
        options.output.warn(f"the live file does not hold everything: {failure.operation or 'a read'}: {failure}")
    if shard is None:
        options.output.note(f"Saved to {file}; plan from it with: reconciler plan --live {file}")
    else:
        told = f"Saved the share {share} to {file}; `reconciler plan --live` takes the files of all shares"
        options.output.note(told)
    return unseen


def load_live(file: str) -> LiveFile:
    """Read a live file. Raises :class:`~reconciler.core.errors.LiveInvalid`."""
    from reconciler.config.files import load_saved
    from reconciler.core.livefile import LIVE_FORMAT, parse_live

    return load_saved(file, LIVE_FORMAT, parse_live)
