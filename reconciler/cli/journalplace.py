"""Where the journal lies: it makes the folder, keeps Git away from it, and warns of a bad place.

In: the place of a journal or a sandbox, and the files of a run. Out: a folder, an error, or warnings. It does not look
into the journal. A journal on a server has no folder, and Git knows nothing of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.flags import DEFAULT_JOURNAL
from reconciler.core.errors import JournalError, ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.apply.journaltables import JournalPlace
    from reconciler.cli.options import JournalOptions
    from reconciler.cli.output import Output
    from reconciler.config.load import Configuration

_OURS = Path(DEFAULT_JOURNAL).parent
_WHY = "whoever may write to the repository may change what it says was confirmed"
UNTRACK = "Take it out with `git rm --cached`, and keep its folder in a cache or on a disk instead."
"""What to do about a journal that Git tracks."""


def make_folder(file: Path) -> None:
    """Make the folder of a journal or a sandbox, with a ``.gitignore`` that ignores everything in it.

    A folder that exists already gets one only if it has our own name. If the folder can't be made, or lies behind a
    link, nothing happens here: whoever opens the file then says why that fails.
    """
    try:
        if file.is_symlink():
            return
        folder = file.parent.resolve()
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if made or folder.name == _OURS.name:
            with (folder / ".gitignore").open("x", encoding="utf-8") as ignore:  # never over, or through, what is there
                ignore.write("*\n")
    except (OSError, ValueError, RuntimeError):
        return


def prepare_place(journal: JournalPlace) -> None:
    """Make the folder of a journal that is to be written to.

    Raises :class:`JournalError` for one that Git tracks: a pull request could put another one in its place.
    """
    if is_tracked(journal):
        raise JournalError(f"Git tracks the journal {journal}: {_WHY}", UNTRACK)
    if isinstance(journal, Path):
        make_folder(journal)


def is_tracked(journal: JournalPlace) -> bool:
    """Whether Git tracks a journal. False if Git can't tell, as outside of a checkout or without Git."""
    if not isinstance(journal, Path):
        return False

    def tracks(place: Path) -> bool:
        if "GIT_DIR" not in os.environ and not any((folder / ".git").exists() for folder in place.parents):
            return False  # the most frequent answer, without starting a program
        if not place.parent.is_dir():
            return False
        from reconciler.config.git import Git

        git = Git(cwd=place.parent, environment=os.environ)
        return git.run("ls-files", "--error-unmatch", "-z", "--", place.name).code == 0

    try:
        # A link that leads out of the checkout may be tracked, too.
        return any(tracks(place) for place in {journal.resolve(), journal.parent.resolve() / journal.name})
    except (OSError, ValueError, RuntimeError, ReconcilerError):
        return False


def warn_of_journal(options: JournalOptions, configuration: Configuration, output: Output) -> None:
    """Warn of a journal that Git tracks, and of a second journal beside the files: neither knows all the writes."""
    journal = options.journal_place
    if is_tracked(journal):
        output.warn(f"Git tracks the journal {journal}: {_WHY}; an apply refuses it")
    if options.journal is not None or not isinstance(journal, Path):
        return
    found = [name for name in _beside(configuration.files) if name.is_file()]
    if not found:
        return
    used = journal if journal.is_file() else f"{journal}, which does not exist yet"
    output.warn(
        f"there is a journal beside the files, {found[0]}, but this command uses {used}; "
        "name the one that is meant with --journal"
    )


def _beside(files: Iterable[str]) -> Iterator[Path]:
    """Yield where a run that is started beside the files would keep its journal, each place once.

    Below the working directory, that may be any folder above a file; elsewhere it is the file's own folder, or the
    one above ``automation/``.
    """
    here = Path.cwd()
    folders: dict[Path, None] = {}
    for name in files:
        folder = Path(os.path.abspath(name)).parent  # noqa: PTH100 - as it is spelled, but for dots
        if folder.is_relative_to(here):
            folders.update((one, None) for one in (folder, *folder.parents) if here in one.parents)
        else:
            folders.update((one, None) for one in (folder, folder.parent)[: 1 + (folder.name == "automation")])
    used = here / DEFAULT_JOURNAL
    for folder in sorted(folders):
        place = folder / DEFAULT_JOURNAL
        if place.resolve() != used.resolve():
            yield Path(os.path.relpath(place))
