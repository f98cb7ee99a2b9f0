"""Shell completion: ids, groups, halts and runs from the files and the journal.

In: the command line as far as it is typed. Out: click's completion items. It reads the files and the journal and
nothing else: it asks no service, writes nothing, and prints nothing on stderr. What can't be read offers nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, shell_complete, split_arg_string

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import click

    from reconciler.config.document import Document

_IDS: Final = frozenset(("ID", "[ID]", "ID...", "[ID]...", "ID|group=NAME|@FILE"))
_GROUPS: Final = frozenset(("TERM", "ID|group=NAME|@FILE"))
_FILES: Final = frozenset(("FILE", "[FILE]", "PATH", "PLAN", "[PLAN]", "OTHER", "SEED"))


class Bash(BashComplete):
    """Bash splits words at ``=``: it hands over ``group=ma`` as three words, and replaces only the last one."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one, put together again."""
        words: list[str] = []
        split = split_arg_string(os.environ["COMP_WORDS"])[: int(os.environ["COMP_CWORD"]) + 1]
        for number, word in enumerate(split):
            if number and (word == "=" or split[number - 1] == "="):
                words[-1] += word
            else:
                words.append(word)
        whole = len(split) > int(os.environ["COMP_CWORD"])
        return (words[1:-1], words[-1]) if whole else (words[1:], "")

    def format_completion(self, item: CompletionItem) -> str:
        """Return the kind of an item and the part of it that stands behind the last ``=``, if one was typed."""
        _, typed = self.get_completion_args()
        if "=" in typed:
            return f"{item.type},{item.value.rpartition('=')[2]}"
        return super().format_completion(item)


def answer(command: click.Command, instruction: str) -> int:
    """Do as a shell asks, in the words of click's protocol; return the exit code."""
    add_completion_class(Bash)
    try:
        return shell_complete(command, {}, "reconciler", "_RECONCILER_COMPLETE", instruction)
    except Exception:  # whatever it is, a line that somebody is typing is not the place to say so
        return 1


def complete(ctx: click.Context, param: click.Parameter, incomplete: str, *, journal: str) -> list[CompletionItem]:
    """Return the completions of an unfinished value. The metavar of the option or argument says what kind it is.

    ``journal`` is the path of the journal to read, unless the command line names another.
    """
    metavar = str(param.metavar)
    if metavar in _FILES:
        return [CompletionItem(incomplete, type="file")]
    try:
        match param.name:
            case "run":
                found = list(_runs(ctx.params.get("journal") or journal))
            case "halt":
                found = list(_halts())
            case _:
                found = list(_declared(ctx, param, metavar, "!=" if "!" in incomplete else "="))
                if param.param_type_name == "argument" and not ctx.params.get(
                    param.name or ""
                ):  # `halt`, or `halt lift`
                    found = [*map(CompletionItem, getattr(ctx.command, "commands", ())), *found]
    except Exception:  # as above
        return []
    given = ctx.params.get(param.name or "")
    taken = given if isinstance(given, tuple) else ()
    return [one for one in found if one.value.startswith(incomplete) and one.value not in taken]


def _declared(ctx: click.Context, param: click.Parameter, metavar: str, sign: str) -> Iterator[CompletionItem]:
    documents = _documents(ctx) if metavar in _IDS | _GROUPS else []
    for document in documents:
        if metavar in _IDS:
            yield from _named(document, "portfolios", "")
            if param.name in {"targets", "excludes"} or ctx.info_name == "explain":
                yield from _named(document, "strategies", "strategies/")
        if metavar in _GROUPS:
            yield from (CompletionItem(f"group{sign}{name}") for name in document.section("groups") or ())
    if metavar == "TERM":
        entries = [entry for document in documents for entry in _entries(document)]
        labels = {(key, str(word)) for entry in entries for key, word in _mapping(entry.get("labels")).items()}
        yield from (CompletionItem(f"{key}{sign}{word}") for key, word in sorted(labels))


def _entries(document: Document) -> Iterator[Mapping[str, object]]:
    """Yield every mapping that may hold labels."""
    yield _mapping(document.section("defaults"))
    for section in ("groups", "portfolios"):
        yield from map(_mapping, (document.section(section) or {}).values())


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _named(document: Document, section: str, prefix: str) -> Iterator[CompletionItem]:
    for key, declared in (document.section(section) or {}).items():
        name = declared.get("name") if isinstance(declared, dict) else None
        yield CompletionItem(f"{prefix}{key}", help=name if isinstance(name, str) else None)


def _documents(ctx: click.Context) -> Sequence[Document]:
    """Return the files that the command line names so far, else those in the usual places; never standard input."""
    from reconciler.config.files import STDIN, discover
    from reconciler.config.source import read_yaml

    given = ctx.params.get("sources") or ()
    sources = [source for source in given if source != STDIN]
    files, _ = discover(sources, stdin=bytes, cwd=Path.cwd()) if sources or not given else ([], ())
    return [read_yaml(file, data) for file, data in files]


def _halts() -> Iterator[CompletionItem]:
    """Yield the halts whose files are here, the newest first."""
    from reconciler.cli.haltfiles import FOLDER
    from reconciler.core.model import is_halt_id

    for name in sorted((path.stem for path in FOLDER.glob("*.json")), reverse=True):
        if is_halt_id(name):
            yield CompletionItem(name)


def _runs(journal: str) -> Iterator[CompletionItem]:
    """Yield the numbers of the runs in the journal, newest first; none of one on a server."""
    from reconciler.apply.journalreads import read_runs
    from reconciler.core.endpoint import journal_url

    if journal_url(journal) is not None:
        return
    for run in read_runs(Path(journal)) or ():
        yield CompletionItem(str(run.number), help=run.exit_reason)
