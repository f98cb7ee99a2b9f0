"""What GitHub would make of a text: its Markdown parser and what it looks for afterwards, and its runner's commands.

Both are stricter than GitHub: what is alive here may be dead there, never the other way round.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from typing import Final

from cmarkgfm import markdown_to_html_with_extensions
from cmarkgfm.cmark import Options

EXTENSIONS: Final = ["table", "autolink", "strikethrough", "tasklist"]
"""Those of GitHub but for the filter of tags: what needs filtering is found out, instead of being filtered."""

ALIVE: Final = re.compile(
    r"@[0-9a-z]"  # mentions, mail addresses, user/repository@commit
    r"|#[0-9a-z]"  # references
    r"|[a-z]-\d"  # GH-1, and references that a repository may declare
    r"|(?<![0-9a-z_])[0-9a-f]{7,40}(?![0-9a-z_])"  # commits
    r"|(?<![a-z])[a-z]+://|(?<![a-z0-9])www\."  # addresses
    r"|:[\w+-]+:",  # pictures
    re.IGNORECASE | re.ASCII,
)
APART: Final = "\u200b"


@dataclass(frozen=True)
class Rendered:
    """A page as GitHub renders it: ``tags`` in order with their attributes, ``texts`` of blocks without code."""

    tags: tuple[str, ...]
    texts: tuple[str, ...]
    everything: str


class _Reader(HTMLParser):
    """Splits a rendered page. A bare ``span`` or ``code`` inside a line is a way of writing, not a structure."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = [""]
        self.everything: list[str] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside.append(tag)
        if tag in ("span", "code") and not attrs and "pre" not in self.inside:
            return
        self.tags.append(f"<{tag} {attrs}>")
        if tag not in ("strong", "b", "sub"):
            self.texts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"<{tag} {attrs}/>")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass
        if tag not in ("span", "code"):
            self.tags.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.everything.append(data)
        if "code" not in self.inside and "pre" not in self.inside:
            assert "$" not in data or (data == "$" and self.inside[-1] == "span"), data
            self.texts[-1] += data

    def handle_comment(self, data: str) -> None:
        self.tags.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.tags.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.tags.append(f"<?{data}>")


@lru_cache(maxsize=256)  # a comment that had room for all is the same below its limit
def rendered(markdown: str) -> Rendered:
    """Return a page as GitHub's parser renders it, raw HTML let through."""
    html = markdown_to_html_with_extensions(markdown, extensions=EXTENSIONS, options=Options.CMARK_OPT_UNSAFE)
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return Rendered(tuple(reader.tags), tuple(filter(str.strip, reader.texts)), "".join(reader.everything))


def alive(page: Rendered) -> list[str]:
    """Return what GitHub would turn into a link or a picture, or tell somebody of, or what steers a reader's eye."""
    found = [text for text in page.texts if ALIVE.search(text)]
    found += [tag for tag in page.tags if re.match(r"<(a|img|script|iframe|input|svg|h1) ", tag)]
    harmless = {"\n", *APART}
    steering = {c for c in set(page.everything) - harmless if unicodedata.category(c) in ("Cc", "Cf", "Cs")}
    return [*found, *map(repr, steering)]


@dataclass(frozen=True)
class Command:
    """A command that the runner obeyed, its escapes undone."""

    name: str
    properties: tuple[tuple[str, str], ...]
    data: str


def obeyed(log: str) -> list[Command]:
    """Return the commands that the runner obeys in a log, in order; any name counts as one that it knows."""
    found = []
    token = None
    for line in re.split(r"\r\n|\n|\r", log):
        command = _new_form(line) or _old_form(line)
        if command is None or (token is not None and command.name.lower() != token):
            continue
        token = command.data.lower() if command.name == "stop-commands" else None
        found.append(command)
    return found


def _new_form(line: str) -> Command | None:
    line = line.lstrip()
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    name, _, rest = line[2:end].partition(" ")
    pairs = tuple(_pair(part) for part in rest.split(",") if "=" in part)
    return Command(name, pairs, _unescaped(line[end + 2 :], {"%0D": "\r", "%0A": "\n", "%25": "%"})) if name else None


def _old_form(line: str) -> Command | None:
    start = line.find("##[")
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    name, _, rest = line[start + 3 : end].partition(" ")
    return Command(name, tuple(_pair(part) for part in rest.split(";") if "=" in part), line[end + 1 :])


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    escapes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
    return name, _unescaped(value, escapes)


def _unescaped(text: str, escapes: dict[str, str]) -> str:
    for escape, character in escapes.items():
        text = text.replace(escape, character)
    return text
