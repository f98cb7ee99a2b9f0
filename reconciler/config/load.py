"""Load the files: what other packages call to learn what these declare.

In: the ``-f`` arguments, standard input, today's date and a working directory. Out: a :class:`Configuration`, or
:class:`ConfigInvalid` with every problem of every file. If there is any error, there is no configuration at all.
This module knows neither the network nor what is live.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.config.check import check_document, saved_file, seed_file
from reconciler.config.document import Document, Locator, error, with_excerpts
from reconciler.config.files import discover
from reconciler.config.merge import freezes_of, merge, unreached
from reconciler.config.resolve import Resolution
from reconciler.config.source import read_yaml
from reconciler.core.advice import advise
from reconciler.core.diagnostics import Severity
from reconciler.core.endpoint import NOTHING
from reconciler.core.errors import ConfigInvalid
from reconciler.core.guards import Guards
from reconciler.core.model import ApiVersion, Paths
from reconciler.core.sections import AUTOMATION_FIELDS
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from reconciler.config.document import Node
    from reconciler.config.merge import Sections
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.endpoint import Expect
    from reconciler.core.forms import Complaint
    from reconciler.core.freeze import Freeze
    from reconciler.core.model import Desired, PortfolioId, StrategyDesired, StrategyId
    from reconciler.core.tables import FieldPath, FieldTable

T = TypeVar("T")


class Configuration(Struct, frozen=True):
    """What the files declare; portfolios and strategies are sorted by id, freezes by name. ``files`` are the names as
    shown, sorted.

    ``texts`` holds their bytes by name. ``default_api`` is the API of ids that no file declares. Without values, it is
    what holds where there are no files.
    """

    desired: Mapping[PortfolioId, Desired] = {}
    strategies: Mapping[StrategyId, StrategyDesired] = {}
    guards: Guards = Guards()
    freezes: tuple[Freeze, ...] = ()
    paths: Paths = Paths.AUTO
    expect: Expect = NOTHING
    default_api: ApiVersion = ApiVersion.V1
    files: tuple[str, ...] = ()
    texts: Mapping[str, bytes] = {}
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) over names and bytes of the files; it changes with every comment.

        It is made only when it is asked for, because importing hashlib takes a good part of a small ``validate``.
        """
        import hashlib

        whole = hashlib.sha256()
        # Each part is hashed by itself, so that no name can run into its content.
        for name, data in sorted(self.texts.items()):
            whole.update(hashlib.sha256(name.encode()).digest())
            whole.update(hashlib.sha256(data).digest())
        return whole.hexdigest()


def load_configuration(
    sources: Sequence[str], *, stdin: Callable[[], bytes], today: dt.date, cwd: Path
) -> Configuration:
    """Read, check and resolve the files that ``sources`` name (see :func:`~reconciler.config.files.discover`).

    ``stdin`` returns all of standard input; it is called only for ``-``. ``today`` decides which ``until`` has passed.
    Raises :class:`ConfigInvalid` with the errors and warnings of all files, sorted by place.
    """
    collecting = gc.isenabled()
    # Hundreds of thousands of objects are made here, none of them in a cycle. Searching them for cycles again and again
    # would cost as much as parsing them.
    gc.disable()
    try:
        return resolve(read_sources(sources, stdin=stdin, cwd=cwd), today)
    finally:
        if collecting:
            gc.enable()


def load_as(
    file: str,
    data: bytes,
    table: FieldTable,
    make: Callable[[Node, frozenset[FieldPath]], tuple[T, Sequence[tuple[FieldPath, Complaint]]]],
) -> T:
    """Load one file of another kind, which ``table`` describes, and return what ``make`` makes of it.

    ``make`` gets the data and the paths of what breaks the table. It returns the value, and other problems by their
    path in the file. Raises :class:`ConfigInvalid` with every problem.
    """
    document = read_yaml(file, data)
    diagnostics = list(document.diagnostics)
    if document.whole and (saved := saved_file(document)):
        raise ConfigInvalid(with_excerpts([saved], {file: data}), what=table.name)
    found, broken = check_document(document, table) if document.whole else ([], frozenset())
    made, complaints = make(document.root, broken)
    locator = Locator(document)
    diagnostics += found
    if document.whole:
        for path, complaint in complaints:
            there = locator.nearest(path)  # a missing field has no place, so the nearest one is shown
            address = ".".join(harmless(name) for name in there)
            diagnostics.append(error(locator.value(there), complaint.problem, complaint.repair, address=address))
    if any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics):
        raise ConfigInvalid(with_excerpts(diagnostics, {file: data}), what=table.name)
    return made


class ReadFiles(Struct, frozen=True):
    """All files, read and checked one by one; ``documents`` is emptied by :func:`resolve`."""

    texts: Mapping[str, bytes]
    documents: list[Document]
    sections: Sections
    diagnostics: list[Diagnostic]


def read_sources(sources: Sequence[str], *, stdin: Callable[[], bytes], cwd: Path) -> ReadFiles:
    """Read every file, check it against the schema, and merge all sections except the portfolios."""
    files, diagnostics = discover(sources, stdin=stdin, cwd=cwd)
    return read_files(files, diagnostics)


def read_files(files: Sequence[tuple[str, bytes]], diagnostics: list[Diagnostic]) -> ReadFiles:
    """Read files that were found, as names and bytes; ``diagnostics`` holds what was wrong
    with finding them. A file of ours that is for something else is left out, behind one problem.
    """
    documents: list[Document] = []
    for file, data in files:
        document = read_yaml(file, data)
        diagnostics += document.diagnostics
        if document.whole:
            if foreign := saved_file(document) or seed_file(document):
                diagnostics.append(foreign)
                continue
            found, broken = check_document(document, AUTOMATION_FIELDS)
            diagnostics += found
            document = replace(document, broken=broken)
        documents.append(document)
    sections, found = merge(documents)
    diagnostics += found
    return ReadFiles(dict(files), documents, sections, diagnostics)


def resolve(read: ReadFiles, today: dt.date, *, may_be_empty: bool = False) -> Configuration:
    """Resolve every portfolio; empties ``read.documents``. Raises as :func:`load` does.

    ``may_be_empty`` allows files that declare nothing, because they will be filled later.
    """
    freezes, found = freezes_of(read.documents, today)
    resolution = Resolution(read.sections, today=today)
    read.documents.reverse()
    while read.documents:  # one by one, so that each document's memory is free for its results
        resolution.add(read.documents.pop())
    diagnostics = [*read.diagnostics, *found, *resolution.diagnostics]
    invalid = any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
    if not resolution.declared and not read.sections.declared and not invalid and not may_be_empty:
        invalid = True
        count = len(read.texts)
        problem = f"no portfolios are declared in {count} file{'' if count == 1 else 's'}"
        repair = (
            "declare at least one under `portfolios`, or a strategy under `strategies`; "
            "files that declare nothing are most likely a mistake"
        )
        diagnostics.append(error(None, problem, repair, address="portfolios"))
    if not invalid:
        diagnostics += unreached(freezes, resolution.desired)
    shown = with_excerpts(diagnostics, read.texts)
    if invalid:
        raise ConfigInvalid(shown)
    desired = {portfolio: resolution.desired[portfolio] for portfolio in sorted(resolution.desired)}
    return Configuration(
        desired=desired,
        strategies=read.sections.strategies,
        guards=read.sections.guards,
        freezes=freezes,
        paths=read.sections.paths,
        expect=read.sections.expect,
        default_api=read.sections.defaults.values.get("api", ApiVersion.V1),
        files=tuple(read.texts),
        texts=read.texts,
        warnings=(*shown, *advise(desired)),
    )
