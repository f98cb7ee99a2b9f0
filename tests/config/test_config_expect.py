"""``service.expect``: what is read, how several files agree, and what is said of each mistake."""

from __future__ import annotations

import pytest

from reconciler.core.endpoint import NOTHING, Expect
from reconciler.core.errors import ConfigInvalid
from reconciler.core.model import Paths
from tests.config.support import load_files, load_text, problems, said

BODY = "portfolios:\n  a: {state: paused}\n"
LIVE = "https://api.glider.fi"


def text(service: str) -> str:
    """Return a file with this section ``service``."""
    return f"version: 1\nservice: {service}\n{BODY}"


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("{paths: guide}", NOTHING),
        ("{expect: {}}", NOTHING),
        ("{expect: {url: 'https://api.glider.fi', account: Acme EU}}", Expect(url=LIVE, account="Acme EU")),
        ("{expect: {url: 'HTTPS://API.Glider.FI:443/'}}", Expect(url=LIVE)),
        ("{expect: {url: 'http://127.0.0.1:8080/'}}", Expect(url="http://127.0.0.1:8080")),
        ('{expect: {account: " Acme EU "}}', Expect(account="Acme EU")),
        ('{expect: {account: "42"}}', Expect(account="42")),
    ],
)
def test_what_is_read(service: str, expected: Expect) -> None:
    """The URL comes in its one spelling; what is left out is not expected."""
    assert load_text(text(service)).expect == expected


def test_files_without_a_word_expect_nothing() -> None:
    """Most files say nothing of it."""
    assert load_text(f"version: 1\n{BODY}").expect == NOTHING


def test_files_may_say_the_same_and_add_to_one_another() -> None:
    """Each file may say whom it expects, also beside other settings, as long as all agree."""
    configuration = load_files(
        {
            "a.yaml": text("{expect: {url: 'https://api.glider.fi/'}}"),
            "b.yaml": "version: 1\nservice:\n  paths: guide\n  expect: {url: 'https://API.glider.fi', account: Acme}\n",
            "c.yaml": "version: 1\nservice: {expect: {account: Acme}}\n",
        }
    )
    assert configuration.expect == Expect(url=LIVE, account="Acme")
    assert configuration.paths is Paths.GUIDE


def test_files_that_expect_differently_name_both_places() -> None:
    """There is no last one wins: each that differs from the first is an error."""
    with pytest.raises(ConfigInvalid) as caught:
        load_files(
            {
                "a.yaml": text("{expect: {url: 'https://api.glider.fi', account: Acme EU}}"),
                "b.yaml": "version: 1\nservice:\n  expect:\n    url: https://staging.glider.fi\n    account: Acme US\n",
            }
        )
    repair = "write the same one, or remove one of the two"
    assert said(list(caught.value.diagnostics)) == [
        f"b.yaml:4:10: service.expect.url: another service is expected here than at a.yaml:2:25; {repair}",
        f"b.yaml:5:14: service.expect.account: another account is expected here than at a.yaml:2:59; {repair}",
    ]


MISTAKES = {
    "no host": (
        "{expect: {url: api.glider.fi}}",
        "expect.url: `api.glider.fi` is not a base URL; write the whole base",
    ),
    "http": (
        "{expect: {url: 'http://api.glider.fi'}}",
        "expect.url: the base URL can't be used: http would send the key readable for all",
    ),
    "a version": ("{expect: {url: 'https://api.glider.fi/v1'}}", "expect.url: the base URL can't be used: it ends in"),
    "a number": ("{expect: {account: 42}}", 'expect.account: `42` is a number, not text; put it in quotes: "42"'),
    "blank": ("{expect: {account: ' '}}", "expect.account: the text is blank; write something, or leave the line out"),
    "empty": ("{expect: {account: }}", "expect.account: there is no value; write the account's name"),
    "too long": (f"{{expect: {{account: {'x' * 201}}}}}", "expect.account: the text is 201 characters long; write at"),
    "a line break": ('{expect: {url: "https://api.glider.fi\\n"}}', "is not a base URL; write the whole base URL"),
    "not a mapping": ("{expect: Acme EU}", "expect: `Acme EU` is not a mapping; indent `url` and `account` under it"),
    "one level up": (
        "{account: Acme EU}",
        "account: unknown key `account`; write `expect: {account: …}` to have it compared",
    ),
    "the URL one level up": (
        "{url: 'https://api.glider.fi'}",
        "url: unknown key `url`; files never say where the key goes, GLIDER_BASE_URL does; write `expect: {url: …}`",
    ),
    "another word": ("{expect: {tenant: Acme}}", "expect.tenant: unknown key `tenant`; did you mean `account`?"),
    "another word for the URL": (
        "{expect: {base_url: x}}",
        "expect.base_url: unknown key `base_url`; did you mean `url`?",
    ),
    "a slip": ("{expects: {account: Acme}}", "expects: unknown key `expects`; did you mean `expect`?"),
}


@pytest.mark.parametrize(("service", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_repair(service: str, expected: str) -> None:
    """Each mistake is one problem at its place, with what to write instead."""
    found = said(problems(text(service)))
    assert len(found) == 1
    assert expected in found[0]
    assert ": service." in found[0]


@pytest.mark.parametrize("url", ["https://me:hunter2@api.glider.fi", "https://me:hunter2@api.glider.fi x"])
def test_a_password_in_the_url_is_not_repeated(url: str) -> None:
    """Neither in the sentence nor as a source line."""
    (found,) = problems(text(f"{{expect: {{url: '{url}'}}}}"))
    assert "hunter2" not in f"{found}{found.excerpt}"


def test_a_broken_expectation_hides_no_other_problem() -> None:
    """A file whose ``service`` breaks the schema is reported, and the others are read all the same."""
    with pytest.raises(ConfigInvalid) as caught:
        load_files(
            {
                "a.yaml": text("{expect: {account: 42}}"),
                "b.yaml": "version: 1\nservice: {expect: {url: 'https://x.example/v1'}}\n",
            }
        )
    assert [d.address for d in caught.value.diagnostics] == ["service.expect.account", "service.expect.url"]
