"""URLs as people write them: whether one carries a secret, and how a text is shown that may hold some. Pure.

Paths are printed, recorded and sent to other ranks. So a URL with a secret in it is refused where it comes in, and every
message leaves out of URLs what might be one.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

__all__ = ["secret_in", "shown"]

SECRETS = (
    "auth", "bearer", "credential", "jwt", "key", "pass", "pwd", "secret", "session", "sig", "token",
)  # fmt: skip
HARMLESS = frozenset(["alt", "dl", "download", "generation", "list-type", "raw", "ref", "revision", "version", "versionid"])
CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")  # container@account is the name of a place
HIDDEN = "***"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}[^\s'\"<>|]*")  # one slash where a path was made of it
CHAIN = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*://)")  # fsspec's
PARTS = re.compile(r"([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
END = re.compile(r"[)\]}.,;:]*$")
PAIR = re.compile(r"([^=&;?#/]+)=([^&;#]*)")


def secret_in(path: str) -> str:
    """Return what kind of secret a path carries, as far as its parts say what they are; nothing where it carries none.

    >>> secret_in("https://me:hidden@host/a"), secret_in("s3://KEY@bucket/a"), secret_in("https://host/a?%61uth=x")
    ('a user or password', 'a user or password', 'a signature or token')
    >>> secret_in("https://host/a#token=x"), secret_in("simplecache::https://me:hidden@host/a")
    ('a signature or token', 'a user or password')
    >>> secret_in("/data/a@b?key=1"), secret_in("abfs://container@account/a"), secret_in("https://host:80/key=1/a?download=1")
    ('', '', '')
    """
    for url in _urls(path):
        scheme, _, rest = url.partition(":")
        if _account(scheme, rest.lstrip("/")):
            return "a user or password"
        if any(_is_secret(name) for name, _ in _pairs(url)):
            return "a signature or token"
    return ""


def _urls(path: str) -> list[str]:
    """Return the URLs in a path: it may be a chain of them, or hold one in its query, percent-encoded or not."""
    text = unquote(path)
    starts = [match.start() for match in re.finditer(r"[A-Za-z][A-Za-z0-9+.-]+://", text)]
    return [text[start:] for start in starts]


def _account(scheme: str, rest: str) -> bool:
    """Say whether what follows a scheme begins with a user, a key or a password."""
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before, at, host = place.rpartition("@")
    if at and (scheme.lower() not in CONTAINERS or ":" in before):
        return True
    # A password with a slash in it ends the place early: what seems a port is none.
    port = "" if host.startswith("[") else host.partition(":")[2]
    return bool(port) and not port.isdigit() and "@" in rest


def _pairs(url: str) -> list[tuple[str, str]]:
    """Return names and values of a URL's query, its fragment, and the parameters of its path."""
    path, query, fragment = PARTS.fullmatch(CHAIN.split(url)[0]).groups()  # type: ignore[union-attr]
    texts = [query or "", fragment or "", path.partition(";")[2]]
    return [pair for text in texts for pair in parse_qsl(text.replace(";", "&").replace("?", "&"), keep_blank_values=True)]


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRETS)


def shown(text: str) -> str:
    """Return a text with what may be secret left out of its URLs: users and passwords, values of queries and fragments.

    >>> shown("https://me:hidden@host:80/a?auth=hidden&download=1#token=hidden: no such file")
    'https://***@host:80/a?auth=***&download=1#token=***: no such file'
    >>> shown("s3://KEY@bucket/a, gs://bucket/a@b and /data/a?b=c")
    's3://***@bucket/a, gs://bucket/a@b and /data/a?b=c'
    """
    return URL.sub(lambda match: _shown(match[0]), text) if ":/" in text else text


def _shown(url: str) -> str:
    end = END.search(url)
    tail = end[0] if end else ""
    url = url[: len(url) - len(tail)]
    scheme, _, rest = url.partition(":")
    slashes = rest[: len(rest) - len(rest.lstrip("/"))]
    rest = rest.lstrip("/")
    if _account(scheme, rest):
        rest = f"{HIDDEN}@{rest.rpartition('@')[2] if '@' in rest else ''}"
    place, separator, query = re.match(r"([^?#;]*)([?#;]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    if "://" in place:  # of a chain
        place = shown(place)
    query = PAIR.sub(lambda pair: pair[0] if unquote(pair[1]).lower() in HARMLESS else f"{pair[1]}={HIDDEN}", query)
    if separator == "#" and "=" not in query and _is_secret(query):
        query = HIDDEN
    return f"{scheme}:{slashes}{place}{separator}{query}{tail}"
