"""HTTP to GitHub's REST API: limits, retries, pages, and the one place that knows the token.

In: method, path and body of a request. Out: its JSON, or a :class:`GitHubError` with a sentence and a repair. Knows
nothing of comments and issues. It drives httpx2's transport and not its client, so there is no redirect, cookie, proxy
variable or netrc to switch off; a proxy is used if the caller names one.

A request is sent up to three times, with up to 90 s of waiting: again after a rate limit, because then it was not done;
and again after a 5xx or no answer if its method may be sent twice. A POST that may have been carried out is not sent
again: its caller looks first.
"""

from __future__ import annotations

import contextlib
import json
import re
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

import httpx2
from msgspec import Struct

from reconciler import __version__
from reconciler.core.errors import GitHubError
from reconciler.core.text import harmless
from reconciler.github.failures import github_failure, limit_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PER_PAGE: Final = 100
MOST_GITHUB_PAGES: Final = 30
"""Up to this many pages of a list are read, 3,000 entries; the caller is told when there are more."""
LARGEST_GITHUB_BODY: Final = 32 * 1024 * 1024
"""Bytes of one answer that are read: a page of the longest comments has 26 MB."""
GITHUB_ATTEMPTS: Final = 3
LONGEST_WAIT_S: Final = 90.0

_WHOLE_S: Final = 60.0  # for one whole answer: a server that sends a byte now and then meets every other limit
_BACKOFF_S: Final = 2.0
_TIMEOUT: Final = {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 10.0}
_NOTHING_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_NEXT: Final = re.compile(r'<([^<>]{1,2000})>\s*;\s*rel="?next"?')


class Answer(Struct, frozen=True):
    """Status, headers with names in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the body's JSON. Raises :class:`GitHubError`."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise unreadable_answer(self.status) from error


def unreadable_answer(status: int | None = None) -> GitHubError:
    """Return the error for an answer that is not what the API documents."""
    return GitHubError("GitHub's answer is not what its API documents", "Is GITHUB_API_URL GitHub's?", status=status)


class Wire:
    """One connection. ``api_url`` and ``token`` are checked already; ``sleep`` waits seconds."""

    def __init__(
        self,
        *,
        api_url: str,
        token: str,
        sleep: Callable[[float], object],
        proxy: str | None = None,
        transport: object | None = None,
    ) -> None:
        self._base = api_url
        self.graphql = f"{api_url.removesuffix('/v3')}/graphql"
        """The address of GitHub's other API; on a server of one's own it does not stand below the first."""
        self._secret = token
        self._sleep = sleep
        made = transport if transport is not None else _connection(api_url, proxy)
        self._transport = cast("httpx2.BaseTransport", made)
        self._headers = {
            "Accept": "application/vnd.github+json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {token}",
            "User-Agent": f"glider-reconciler/{__version__}",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def __repr__(self) -> str:
        return f"<Wire {self._base}>"

    def close(self) -> None:
        """Close the connection."""
        # The request has its outcome already, and an error of closing would hide it.
        with contextlib.suppress(Exception):
            self._transport.close()

    def send(self, method: str, path: str, body: Mapping[str, object] | None = None, *, permission: str = "") -> Answer:
        """Send a request until it has its outcome; ``path`` begins with a slash and needs no escaping, or it is
        :attr:`graphql`.

        ``permission`` is what a job needs for it, named where GitHub refuses. Raises :class:`GitHubError` for any
        answer but a 2xx.
        """
        url = path if path == self.graphql else self._base + path
        return self._send(method, url, body, permission)

    def listed(self, path: str, *, permission: str = "") -> tuple[list[dict[str, Any]], bool]:
        """Return the entries of a list, and whether these are all; ``path`` has a query already, or ends in ``?``."""
        found: list[dict[str, Any]] = []
        url: str | None = f"{self._base}{path}&per_page={PER_PAGE}&page=1".replace("?&", "?")
        seen: set[str] = set()
        while url is not None and url not in seen:
            if len(seen) == MOST_GITHUB_PAGES:
                return found, False
            seen.add(url)
            answer = self._send("GET", url, None, permission)
            entries = answer.json()
            if not isinstance(entries, list):
                raise unreadable_answer(answer.status)
            found += [entry for entry in entries if isinstance(entry, dict)]
            url = self._next(answer, url, full=len(entries) >= PER_PAGE)
        return found, url is None

    def _next(self, answer: Answer, url: str, *, full: bool) -> str | None:
        """Return the address of the next page: GitHub's link if it leads to GitHub, else the same one with the next
        number."""
        link = _NEXT.search(answer.headers.get("link", "")[:8000])
        if link and link[1].startswith(f"{self._base}/") and link[1].isascii() and link[1].isprintable():
            return link[1]
        if not full:
            return None
        return re.sub(r"(?<=[?&]page=)\d+", lambda page: str(int(page[0]) + 1), url)

    def _send(self, method: str, url: str, body: Mapping[str, object] | None, permission: str) -> Answer:
        waited = 0.0
        attempt = 0
        while True:
            attempt += 1
            wait = _BACKOFF_S * attempt
            try:
                answer = self._exchange(method, url, body)
            except GitHubError as error:
                failure = error
                again = method != "POST" or not failure.may_have_taken_effect
            else:
                if answer.status // 100 == 2:
                    return answer
                limited = limit_seconds(answer.status, answer.headers, answer.content)
                failure = github_failure(
                    answer.status, answer.content, permission=permission, limited_s=limited, secret=self._secret
                )
                wait = limited if limited is not None else wait
                again = limited is not None or (answer.status >= 500 and method != "POST")
            if not again or attempt == GITHUB_ATTEMPTS or waited + wait > LONGEST_WAIT_S:
                raise failure
            self._sleep(wait)
            waited += wait

    def _exchange(self, method: str, url: str, body: Mapping[str, object] | None) -> Answer:
        try:
            request = httpx2.Request(
                method,
                url,
                headers=self._headers,
                json=body,
                extensions={"timeout": _TIMEOUT},
            )
            response = self._transport.handle_request(request)
            try:
                content = b"".join(_parts(cast("httpx2.SyncByteStream", response.stream)))
            finally:
                response.close()
        except GitHubError:
            raise
        except Exception as cause:  # any exception of any library, because a post must not end a run
            leaks = self._secret in str(cause)
            raise self._failure(cause) from (None if leaks else cause)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, content)

    def _failure(self, cause: Exception) -> GitHubError:
        said = str(cause).strip().replace(self._secret, "[token]") or type(cause).__name__
        sent = not isinstance(cause, _NOTHING_SENT)
        what = "the connection to GitHub was lost" if sent else "no connection to GitHub"
        return GitHubError(
            f"{what}: {harmless(said, longest=200)}",
            f"Look at the network and at GITHUB_API_URL, which is {self._base}.",
            may_have_taken_effect=sent,
        )


def _connection(api_url: str, proxy: str | None) -> httpx2.BaseTransport:
    """Return a connection; only https reads the certificate authorities, which takes 45 ms.

    Raises :class:`GitHubError` where they can't be read.
    """
    if not api_url.startswith("https:"):
        import ssl

        # An http address needs no certificates; an empty context saves the 45 ms of reading them.
        return httpx2.HTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    try:
        return httpx2.HTTPTransport(proxy=proxy)  # the system's authorities, or SSL_CERT_FILE's
    except OSError as error:  # an ssl.SSLError is one, too
        raise GitHubError(
            f"the certificates to trust can't be read: {harmless(error.strerror or str(error), longest=200)}",
            "SSL_CERT_FILE must name a file of certificates in PEM form. Unset it to trust what this system trusts.",
        ) from error


def _parts(stream: httpx2.SyncByteStream) -> Iterator[bytes]:
    """Yield the parts of a body within its limits of size and time."""
    size = 0
    ends = monotonic() + _WHOLE_S
    for part in stream:
        size += len(part)
        if size > LARGEST_GITHUB_BODY or monotonic() > ends:
            raise GitHubError(
                f"GitHub's answer is larger than {LARGEST_GITHUB_BODY // 1024 // 1024} MiB "
                f"or takes over {_WHOLE_S:g} s",
                "Is GITHUB_API_URL GitHub's?",
                may_have_taken_effect=True,
            )
        yield part
