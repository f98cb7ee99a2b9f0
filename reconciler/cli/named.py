"""Portfolios that a command line names by their ids: declared in the files or not, and by which API they are managed.

In: ids, the files where there are any, ``--api``. Out: a :class:`Named` each, sorted by id. A declared portfolio is
managed as its file says; one that is not declared, as ``--api`` says, or else as the defaults of the files do.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec import Struct

from reconciler.cli.wiring import load_files, refuse
from reconciler.core.endpoint import NOTHING
from reconciler.core.model import ApiVersion, Paths, PortfolioId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.config.load import Configuration
    from reconciler.core.endpoint import Expect
    from reconciler.core.model import Desired

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class Named(Struct, frozen=True, kw_only=True):
    """One portfolio; ``desired`` is ``None`` where no file declares it."""

    id: PortfolioId
    version: ApiVersion
    desired: Desired | None

    @property
    def name(self) -> str | None:
        """Its label in the files."""
        return self.desired.name if self.desired is not None else None


def api_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--api``."""
    return click.option(
        "--api",
        "version",
        type=click.Choice([version.value for version in ApiVersion]),
        help="The API of portfolios that no file declares.  [default: that of `defaults`, else v1]",
    )(command)


def load_files_if_any(sources: tuple[str, ...]) -> Configuration | None:
    """Load the files; ``None`` where none was named and there are none where they are looked for.

    Raises ``ConfigInvalid`` for files that are there and can't be used.
    """
    from reconciler.config.files import DEFAULTS

    if not sources and not any(Path(name).exists() for name in DEFAULTS):
        return None
    return load_files(sources)


def paths_of(configuration: Configuration | None) -> Paths:
    """Return the v1 path family that the files ask for."""
    return configuration.paths if configuration is not None else Paths.AUTO


def expect_in(configuration: Configuration | None) -> Expect:
    """Return whom the files expect at the other end; nobody without files."""
    return configuration.expect if configuration is not None else NOTHING


def named(ids: Iterable[str], configuration: Configuration | None, version: str | None) -> tuple[Named, ...]:
    """Return the portfolios with these ids, each once, sorted.

    Raises a usage error for what can't be an id, and where ``--api`` contradicts a file: a portfolio is managed by one
    API and never by both (API facts §4.9).
    """
    declared: Mapping[PortfolioId, Desired] = configuration.desired if configuration is not None else {}
    default = default_api(configuration)
    return tuple(_named(one, declared, version, default) for one in sorted(set(ids)))


def default_api(configuration: Configuration | None) -> ApiVersion:
    """Return the API by which portfolios are managed that no file declares, where the command line does not say."""
    return configuration.default_api if configuration is not None else ApiVersion.V1


def _named(one: str, declared: Mapping[PortfolioId, Desired], version: str | None, default: ApiVersion) -> Named:
    if not _ID.fullmatch(one):
        raise refuse(f"{one[:60]!r} is no portfolio id; ids are 1 to 128 of A-Z a-z 0-9 _ -.")
    portfolio = PortfolioId(one)
    desired = declared.get(portfolio)
    if desired is None:
        return Named(id=portfolio, version=ApiVersion(version or default), desired=None)
    if version is not None and version != desired.api.value:
        raise refuse(f"{portfolio} is declared with the API {desired.api.value}; drop --api, or change its file.")
    return Named(id=portfolio, version=desired.api, desired=desired)
