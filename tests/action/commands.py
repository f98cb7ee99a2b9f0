"""What a step says to the runner: workflow commands in its output, pairs in files, and secrets that must not show.

In: lines and texts as a step wrote them. Out: commands, annotations, masked lines, pairs. The rules are those of the
runner (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands and the runner's own
behaviour where that page is silent): a command of either form counts in stdout and in stderr alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

REGISTERED = frozenset(
    {"add-mask", "debug", "error", "group", "endgroup", "notice", "stop-commands", "warning"}
    | {"add-matcher", "add-path", "echo", "remove-matcher", "save-state", "set-env", "set-output"}
)
FORBIDDEN = frozenset({"add-matcher", "add-path", "echo", "remove-matcher", "save-state", "set-env", "set-output"})
"""What the runner has disabled or given up, or what would change how it reads later lines: never sent by our action."""

SHOWN_PER_LEVEL = 10
"""GitHub shows that many annotations of one level for a step."""

_DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_BRACKET = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))


class Level(StrEnum):
    """How much an annotation matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Command:
    """A workflow command, unescaped."""

    name: str
    data: str
    properties: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What GitHub shows beside the files and on the page of the run, secrets masked."""

    level: Level
    message: str
    properties: dict[str, str] = field(default_factory=dict)
    by_runner: bool = False
    """Whether the runner says it, not the step: ``Process completed with exit code 1.``"""


def parse(line: str, known: frozenset[str] = REGISTERED) -> Command | None:
    """Return the command that a line is or holds, as the runner finds it.

    ``::name key=value,key=value::data`` starts a line, after white space; ``##[name key=value;key=value]data`` stands
    anywhere in it. A name that is not known, whatever its case, makes no command.
    """
    stripped = line.lstrip()
    if stripped.startswith("::"):
        info, separator, data = stripped[2:].partition("::")
        if separator and (found := _made(info, data, known, separator=",", inside=_PROPERTY, after=_DATA)):
            return found
    begin = line.find("##[")
    if begin < 0:
        return None
    info, separator, data = line[begin + 3 :].partition("]")
    return _made(info, data, known, separator=";", inside=_BRACKET, after=_BRACKET) if separator else None


def _made(
    info: str,
    data: str,
    known: frozenset[str],
    *,
    separator: str,
    inside: tuple[tuple[str, str], ...],
    after: tuple[tuple[str, str], ...],
) -> Command | None:
    name, _, rest = info.partition(" ")
    if name.lower() not in {one.lower() for one in known}:
        return None
    properties = {}
    for part in rest.strip().split(separator):
        key, _, value = part.partition("=")
        if key and value:
            properties[key.lower()] = _unescaped(value, inside)
    return Command(name.lower(), _unescaped(data, after), properties)


def _unescaped(text: str, table: tuple[tuple[str, str], ...]) -> str:
    for escape, plain in table:
        text = text.replace(escape, plain)
    return text


class Masks:
    """The values that the log must not show; each is replaced by ``***`` from the moment it is known.

    GitHub also looks for some encodings of a value (Base64, JSON); we don't, so that a test is stricter than GitHub.
    """

    def __init__(self, *values: str) -> None:
        self._values: set[str] = set()
        for value in values:
            self.add(value)

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(sorted(self._values))

    def add(self, value: str) -> None:
        """Add a value and each of its lines."""
        lines = [line.strip() for line in re.split(r"[\r\n]", value)]
        self._values.update(part for part in (value, *lines) if part.strip())

    def __call__(self, text: str) -> str:
        """Return a text with every value in it masked; values that overlap leave one mask."""
        spans: list[list[int]] = []
        found = [match.span(1) for value in self._values for match in re.finditer(f"(?=({re.escape(value)}))", text)]
        for begin, end in sorted(found):
            if spans and begin <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], end)
            else:
                spans.append([begin, end])
        for begin, end in reversed(spans):
            text = f"{text[:begin]}***{text[end:]}"
        return text


class Listener:
    """Reads the lines of one job: obeys its commands, keeps what the log shows, masks."""

    def __init__(self, masks: Masks, *, debug: bool = False) -> None:
        self.masks = masks
        self.debug = debug
        self.log: list[str] = []
        self.annotations: list[Annotation] = []
        self.violations: list[str] = []
        self.failed = False
        """Whether a command was refused, which fails the step that gave it."""
        self._token: str | None = None

    def line(self, line: str) -> None:
        """Take one line of stdout or stderr, without its end."""
        known = REGISTERED | {self._token} if self._token is not None else REGISTERED
        command = parse(line, known) if "::" in line or "##[" in line else None
        if command is None:
            self.show(line)
        elif self._token is not None:
            # While commands are stopped they are plain text; the token alone ends that, as a command of either form.
            self.show(line)
            if command.name == self._token.lower():
                self._token = None
        else:
            self._obey(command, line)

    def show(self, *lines: str) -> None:
        """Write lines to the log."""
        self.log.extend(map(self.masks, lines))

    def annotate(self, level: Level, message: str, properties: dict[str, str] | None = None, **more: bool) -> None:
        """Add an annotation; the log shows it, too."""
        shown = {name: self.masks(value) for name, value in (properties or {}).items()}
        self.annotations.append(Annotation(level=level, message=self.masks(message), properties=shown, **more))
        self.show(*(f"##[{level}]{line}" for line in message.splitlines() or [""]))

    def refuse(self, why: str, *, fails: bool = True) -> None:
        """Record what our action must never do, and say it as the runner does; most of it fails the step."""
        self.violations.append(self.masks(why))
        self.annotate(Level.ERROR, why, by_runner=True)
        self.failed = self.failed or fails

    def _obey(self, command: Command, line: str) -> None:
        match command.name:
            case "stop-commands":
                self._stop(command.data, line)
            case "add-mask":
                if command.data.strip():
                    self.masks.add(command.data)
                else:
                    self.annotate(Level.WARNING, "Can't add secret mask for empty string", by_runner=True)
            case "error" | "warning" | "notice":
                self.annotate(Level(command.name), command.data, command.properties)
            case "group" | "endgroup":
                self.show(f"##[{command.name}]{command.data}")
            case "debug":
                self.show(*([f"##[debug]{command.data}"] if self.debug else []))
            case name if name in FORBIDDEN:
                self.refuse(f"the command '{name}' is disabled: use the environment files")
            case _:
                raise AssertionError(command)

    def _stop(self, token: str, line: str) -> None:
        if not token or token.lower() in REGISTERED | {"pause-logging"}:
            self.refuse(f"stop-commands with a token that is none: '{token}'")
            return
        self._token = token
        if len(token) > 6:
            self.masks.add(token)
        self.show(line)


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """Return the pairs of an environment file, of both forms: ``name=value`` and ``name<<delimiter``.

    Raises ValueError, which fails the step, for a line that is neither and for a delimiter that does not come.
    """
    pairs = []
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    rest = iter(lines)
    for line in rest:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
        elif heredoc >= 0:
            name, _, delimiter = line.partition("<<")
            if not delimiter:
                raise ValueError(f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty")
            inner: list[str] = []
            for one in rest:
                if one == delimiter:
                    break
                inner.append(one)
            else:
                raise ValueError(f"Invalid value. Matching delimiter not found '{delimiter}'")
            value = "\n".join(inner)
        else:
            raise ValueError(f"Invalid format '{line}'")
        if not name:
            raise ValueError(f"Invalid format '{line}'. Name must not be empty")
        pairs.append((name, value))
    return pairs
