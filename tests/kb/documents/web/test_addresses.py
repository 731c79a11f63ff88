"""Which URLs and which numbers may be asked: every disguise of an inner address that we know of."""

import pytest

from kb.documents.web.addresses import (
    BadAddress,
    address,
    joined,
    web_address,
    why_not_public,
)


@pytest.mark.parametrize(
    ("url", "spelling"),
    [
        ("http://example.org", "http://example.org/"),
        ("HTTPS://Example.ORG./a?b=c#d", "https://example.org/a?b=c"),
        ("https://example.org:443/", "https://example.org/"),
        ("https://example.org:8443/", "https://example.org:8443/"),
        ("http://example.org:443/", "http://example.org:443/"),
        ("https://bücher.example/größe?q=ä", "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe?q=%C3%A4"),
        ("https://example.org/%7Euser/%2F", "https://example.org/%7Euser/%2F"),
        ("http://93.184.216.34/", "http://93.184.216.34/"),
        ("http://[2606:2800:0220::1]/", "http://[2606:2800:220::1]/"),
        ("http://[2606:2800:220::1]:8080/", "http://[2606:2800:220::1]:8080/"),
        # Ringed and wide digits are digits: a number in one spelling, which is then judged as one.
        ("http://①②⑦。0。0。1/", "http://127.0.0.1/"),
        ("http://１２７.0.0.1/", "http://127.0.0.1/"),
        ("http://ｅxample.org/", "http://example.org/"),
    ],
)
def test_an_address_has_one_spelling(url: str, spelling: str) -> None:
    assert str(web_address(url)) == spelling


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "http://"),
        ("example.org", "http://"),
        ("//example.org/", "http://"),
        ("ftp://example.org/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("gopher://example.org/", "http://"),
        ("data:text/html,hello", "http://"),
        ("javascript:alert(1)", "http://"),
        ("http:///path", "names no host"),
        ("http://./", "names no host"),
        ("http://user@example.org/", "user name"),
        ("http://user:secret@example.org/", "user name"),
        ("http://example.org@127.0.0.1/", "user name"),
        ("http://@example.org/", "user name"),
        ("http://example.org\\@127.0.0.1/", "backslashes"),
        ("http://example.org /", "spaces"),
        ("http://exam\tple.org/", "spaces"),
        ("http://example.org/\r\nHost: inner", "spaces"),
        ("http://2130706433/", "four plain decimal"),
        ("http://0x7f000001/", "four plain decimal"),
        ("http://0x7f.0.0.1/", "four plain decimal"),
        ("http://0177.0.0.1/", "four plain decimal"),
        ("http://127.1/", "four plain decimal"),
        ("http://127.0.0.0x1/", "four plain decimal"),
        ("http://0/", "four plain decimal"),
        ("http://1.2.3.4.5/", "four plain decimal"),
        ("http://999.1.1.1/", "four plain decimal"),
        ("http://example.0x10/", "four plain decimal"),
        ("http://127.0.0.1../", "four plain decimal|no name"),
        ("http://[fe80::1%25eth0]/", "scope"),
        ("http://[fe80::1%eth0]/", "scope"),
        ("http://[::1/", "not an address|no address"),
        ("http://[v1.fe]/", "no address|not an address"),
        ("http://[127.0.0.1]/", "no address|not an address"),
        ("http://localhost/", "inner network"),
        ("http://localhost./", "inner network"),
        ("http://LOCALHOST:8000/", "inner network"),
        ("http://app.localhost/", "inner network"),
        ("http://wiki/", "inner network"),
        ("http://printer.local/", "inner network"),
        ("http://metadata.google.internal/", "inner network"),
        ("http://exa_mple-.org/", "no name"),
        ("http://a..example.org/", "no name"),
        ("http://%31%32%37.0.0.1/", "no name|four plain"),
        ("http://exam%70le.org/", "no name"),
        ("http://" + "a" * 64 + ".org/", "no name"),
        ("http://example.org:22/", "Port 22"),
        ("http://example.org:0/", "Port 0"),
        ("http://example.org:6667/", "Port 6667"),
        ("http://example.org:65536/", "not an address"),
        ("http://example.org:-1/", "not an address"),
        ("http://example.org:8o/", "not an address"),
        ("http://example.org/" + "a" * 2000, "2000 characters"),
        ("http://example.org/" + "ä" * 700, "2000 characters"),
    ],
)
def test_what_is_never_fetched_says_why(url: str, reason: str) -> None:
    with pytest.raises(BadAddress, match=reason):
        web_address(url)


@pytest.mark.parametrize(
    "number",
    [
        *("8.8.8.8", "93.184.216.34", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255"),
        *("172.32.0.0", "192.0.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.17"),
        *("2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2400:cb00::1"),
    ],
)
def test_public_addresses_may_be_asked(number: str) -> None:
    assert why_not_public(address(number)) is None


@pytest.mark.parametrize(
    "number",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200"),
        *("127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
        *("192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:a9fe:a9fe"),
        *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1"),
        *("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1"),
        *("2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1"),
        *("fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1"),
        *("4000::1", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1"),
    ],
)
def test_inner_addresses_may_not_be_asked(number: str) -> None:
    assert why_not_public(address(number))


@pytest.mark.parametrize("text", ["fe80::1%eth0", "::1%1", "localhost", "", "1.2.3", "0x7f.0.0.1"])
def test_a_resolver_gives_plain_numbers(text: str) -> None:
    with pytest.raises(BadAddress):
        address(text)


@pytest.mark.parametrize(
    ("reference", "spelling"),
    [
        ("/b", "https://example.org/b"),
        ("c?d#e", "https://example.org/a/c?d"),
        ("//other.example/x", "https://other.example/x"),
        ("http://other.example:8080", "http://other.example:8080/"),
        ("  /b\n", "https://example.org/b"),
        ("", "https://example.org/a/"),
    ],
)
def test_references_are_read_from_where_they_stand(reference: str, spelling: str) -> None:
    assert str(joined(web_address("https://example.org/a/"), reference)) == spelling


@pytest.mark.parametrize("reference", ["file:///etc/passwd", "http://127.1/", "http://[::1", "\\\\inner/x"])
def test_references_may_not_lead_anywhere_else(reference: str) -> None:
    with pytest.raises(BadAddress):
        joined(web_address("https://example.org/a/"), reference)
