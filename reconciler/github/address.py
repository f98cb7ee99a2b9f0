"""Where to post, as whom, and by which hidden line a post is found again: checked before anything is sent anywhere.

In: the texts of ``GITHUB_API_URL``, ``GITHUB_REPOSITORY`` and the token as found, and the proxy variables. Out: the
same, normalised, or a :class:`GitHubError` that says what to write instead. No message holds any part of the token or
of a proxy, which may have a password in it. Also here: :class:`Mark`, which says whose a post is and which run wrote
it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.core.errors import GitHubError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]", re.ASCII)
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_-]+)*", re.ASCII)
_LOOPBACK: Final = re.compile(r"127(?:\.\d{1,3}){3}|localhost|\[::1\]", re.ASCII)
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)
_MARK: Final = re.compile(
    r"<!-- glider-reconciler (?P<use>[0-9a-f]{32,64})"
    r"(?: by=(?P<by>[0-9a-f]*) run=(?P<run>\d{1,18})\.(?P<attempt>\d{1,9}) did=(?P<did>[a-z]*)"
    r" commit=(?P<commit>[0-9a-f]*) plan=(?P<plan>[0-9a-f]*))? -->",
    re.ASCII,
)


class Mark(Struct, frozen=True, kw_only=True):
    """The hidden first line of a post: which use of the action keeps it, and which run wrote it last.

    ``use`` and ``by`` are digests in hexadecimal: of all that a use looks at, and of the job that wrote. ``run`` and
    ``attempt`` are GitHub's numbers, which count up. ``did`` is the command, ``commit`` what was checked out, and
    ``plan`` the beginning of the plan's fingerprint, each empty if it is not known. ``earlier`` is the digest that
    an older version wrote for the same use. ``alone`` says that this run ended without a plan or a report. Then it
    takes over the post of the same job even if that looked at something else: an error alone deserves no second post.

    Anybody can write such a line, so always look at the author of a post, too.
    """

    use: str
    by: str = ""
    run: int = 0
    attempt: int = 0
    did: str = ""
    commit: str = ""
    plan: str = ""
    earlier: str = ""
    alone: bool = False

    def __str__(self) -> str:
        """Return the line. It holds no text from outside, which could end it early or imitate another use."""
        written = f"by={self.by} run={self.run}.{self.attempt} did={self.did} commit={self.commit} plan={self.plan}"
        return f"<!-- glider-reconciler {self.use} {written} -->"

    def later(self, other: Mark) -> bool:
        """Whether a later run wrote ``other``, about another commit: then what this run found is out of date."""
        return (other.run, other.attempt) > (self.run, self.attempt) and other.commit != self.commit

    def frees(self, other: Mark) -> bool:
        """Whether this run may rewrite a post of another job. It may not if that job is part of this very run, except
        that an apply may rewrite the post with the plan."""
        return (other.run, other.attempt) != (self.run, self.attempt) or (self.did == "apply" and other.did == "plan")

    def related(self, other: Mark) -> bool:
        """Whether this run continues a post of another use."""
        applied = self.did == "apply" and self.plan != "" and other.plan == self.plan
        return applied or other.use == self.earlier or (self.alone and other.by == self.by)


def mark_of(text: object) -> Mark | None:
    """Return the mark that a post begins with, ``None`` where it begins with none."""
    line = text.lstrip().split("\n", 1)[0].strip() if isinstance(text, str) else ""
    found = _MARK.fullmatch(line)
    if found is None:
        return None
    return Mark(
        use=found["use"],
        by=found["by"] or "",
        run=int(found["run"] or 0),
        attempt=int(found["attempt"] or 0),
        did=found["did"] or "",
        commit=found["commit"] or "",
        plan=found["plan"] or "",
    )


def checked_api_url(text: str) -> str:
    """Return ``text`` as ``scheme://host[:port][/path]`` without a slash at the end; GHES has the path ``/api/v3``.

    Only https is allowed, and http for the loopback host, which a test may serve. Raises :class:`GitHubError`.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        port, host = parts.port, (parts.hostname or "").lower()
    except ValueError as cause:
        raise _refused(text) from cause
    host = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/")
    safe = parts.scheme == "https" or (parts.scheme == "http" and _LOOPBACK.fullmatch(host))
    if not safe or "@" in parts.netloc or "?" in text or "#" in text:
        raise _refused(text)
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise _refused(text)
    return f"{parts.scheme}://{host}{f':{port}' if port is not None else ''}{path}"


def checked_repository(text: str) -> str:
    """Return ``owner/name``, which is safe in a URL path as it stands. Raises :class:`GitHubError`."""
    if not _REPOSITORY.fullmatch(text):
        raise GitHubError(
            "the repository is not of the form owner/name",
            f"Found {harmless(text, longest=100)!r}; GITHUB_REPOSITORY holds it in every job.",
        )
    return text


def checked_token(text: str) -> str:
    """Return the token without the whitespace around it. Raises :class:`GitHubError`."""
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise GitHubError(
            "the GitHub token is empty or holds what no token has", "Pass `${{ github.token }}`, or copy it again."
        )
    return token


def proxy_to(api_url: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy to GitHub's API, from the same variables that GitHub's own actions use; ``None`` for none.

    These are ``https_proxy`` and ``no_proxy``, or the same in capitals. The latter lists hosts, which stand for their
    subdomains, too, or is ``*``. A proxy without a scheme is taken as ``http://``. No proxy is used for an http
    address, because that is this machine. Raises :class:`GitHubError`.
    """
    proxy = (environ.get("https_proxy") or environ.get("HTTPS_PROXY") or "").strip()
    parts = urlsplit(api_url)
    host = parts.hostname or ""
    listed = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").lower().split(",")
    names = [name.strip().lstrip(".") for name in listed]
    near = any(name in ("*", host, parts.netloc.lower()) or (name and host.endswith(f".{name}")) for name in names)
    if not proxy or parts.scheme == "http" or near:
        return None
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        found = urlsplit(url)
        usable = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable():
        raise GitHubError("HTTPS_PROXY names no proxy that can be used", "Write it as http://proxy.example:3128.")
    return url


def _refused(text: str) -> GitHubError:
    shown = "it holds a user name or password" if "@" in text else f"found {harmless(text, longest=100)!r}"
    return GitHubError(
        "the address of GitHub's API can't be used",
        f"It must be https:// and a host, {shown}. GITHUB_API_URL holds the right one in every job.",
    )
