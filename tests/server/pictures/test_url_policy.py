"""Which URLs are gone to at all. Every refusal here comes before any name is resolved."""

from __future__ import annotations

import pytest

from server.api.errors import FetchRefused
from server.pictures.url_policy import MediaPolicy

ANY = MediaPolicy(any_public=True)
SOME = MediaPolicy(("example.com", ".example.org", "pictures.example.net:8443"))

HOSTILE = [
    "http://127.1/a.png",
    "http://127.0.1/a.png",
    "http://2130706433/a.png",
    "http://0x7f000001/a.png",
    "http://0x7f.0x0.0x0.0x1/a.png",
    "http://0177.0.0.1/a.png",
    "http://0177.0.0.01/a.png",
    "http://127.0.0.1.:8080/a.png",
    "http://00000000000000000000000177.1/a.png",
    "http://1/a.png",
    "http://0/a.png",
    "http://[fe80::1%25eth0]/a.png",
    "http://[::1/a.png",
    "http://::1/a.png",
    "http://[1.2.3.4]/a.png",
    "http://[]/a.png",
    "http://user@example.com/a.png",
    "http://user:secret@example.com/a.png",
    "http://:@example.com/a.png",
    "http://@example.com/a.png",
    "http://example.com@127.0.0.1/a.png",
    "http://example.com%40127.0.0.1@10.0.0.1/a.png",
    "http://127.0.0.1\\@example.com/a.png",
    "http://example.com\\@127.0.0.1/a.png",
    "http:\\\\example.com\\a.png",
    "http://example.com\\.evil.test/a.png",
    "http://exa mple.com/a.png",
    "http://example.com/a b.png",
    "http://example.com\t/a.png",
    "http://example.com\n/a.png",
    "http://example.com\r\nHost: 127.0.0.1/a.png",
    "http://example.com\x00.evil.test/a.png",
    " http://example.com/a.png",
    "http://ex\u00e4mple.com/a.png",
    "http://\uff11\uff12\uff17.0.0.1/a.png",
    "http://127\u30020.0.1/a.png",
    "http://\u2460\u2461\u2466.0.0.1/a.png",
    "http:///a.png",
    "http:a.png",
    "http:",
    "http://:80/a.png",
    "http://example.com:0/a.png",
    "http://example.com:22/a.png",
    "http://example.com:6379/a.png",
    "http://example.com:99999/a.png",
    "http://example.com:-1/a.png",
    "http://example.com:80x/a.png",
    "ftp://example.com/a.png",
    "gopher://example.com/a.png",
    "javascript:alert(1)",
    "//example.com/a.png",
    "example.com/a.png",
    "jar:http://example.com/a.png",
    "unix:///var/run/docker.sock",
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
@pytest.mark.parametrize("policy", [ANY, SOME], ids=["any", "some"])
def test_hostile_urls_are_refused(policy: MediaPolicy, url: str) -> None:
    with pytest.raises(FetchRefused):
        policy.check(url)


ELSEWHERE = [
    "http://example.com.evil.test/a.png",
    "http://evil-example.com/a.png",
    "http://sub.example.com/a.png",
    "http://notexample.org/a.png",
    "http://evil.test/example.com",
    "http://evil.test/?http://example.com/a.png",
    "http://evil.test#@example.com/",
    "https://pictures.example.net/a.png",
    "https://pictures.example.net:8444/a.png",
    "http://8.8.8.8/a.png",
    "http://[2606:4700::1111]/a.png",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_hosts_that_are_not_named_are_refused(url: str) -> None:
    with pytest.raises(FetchRefused):
        SOME.check(url)


NAMED = [
    "http://example.com/a.png",
    "https://EXAMPLE.com/a.png?size=1#part",
    "https://example.com:443/a.png",
    "https://example.com./a.png",
    "https://example.org/a.png",
    "https://deep.down.example.org/a.png",
    "https://pictures.example.net:8443/a.png",
    "https://example.com/a%20b.png",
]


@pytest.mark.parametrize("url", NAMED)
def test_hosts_that_are_named_are_taken(url: str) -> None:
    assert str(SOME.check(url))


def test_without_a_word_from_the_operator_nothing_is_fetched() -> None:
    with pytest.raises(FetchRefused, match="fetches no pictures"):
        MediaPolicy().check("https://example.com/a.png")
