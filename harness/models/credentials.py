"""What an endpoint is told to let us in: a token, headers, certificates. From the environment or a private file, never a job.

None of it is printed or recorded: it is no part of any `repr`, and `hide` takes it out of what a server says.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ModelError
from harness.models.tls import check_certificates
from harness.names.variables import (
    ENDPOINT_CA,
    ENDPOINT_CERTIFICATE,
    ENDPOINT_CREDENTIALS,
    ENDPOINT_HEADERS,
    ENDPOINT_KEY,
    ENDPOINT_TOKEN,
    Variable,
)

__all__ = ["Credentials", "credentials_for", "is_here"]

HIDDEN = "***"
SHORTEST = 4  # characters of what is hidden
CUT = 8  # so many of its first are known as those of a secret that was cut off
SHORTEST_CUT = 2  # where a mark says that the text was cut
HEADER_NAME = re.compile(r"[a-z0-9_.-]+")
KEYS = ("token", "headers", "ca", "certificate", "key")
PLACES: Mapping[str, Variable] = {
    "token": ENDPOINT_TOKEN, "headers": ENDPOINT_HEADERS, "ca": ENDPOINT_CA,
    "certificate": ENDPOINT_CERTIFICATE, "key": ENDPOINT_KEY,
}  # fmt: skip


@dataclass(frozen=True)
class Credentials:
    """What is sent with each request, and what a connection is made with.

    Attributes:
      headers: by name in lower case, a bearer token among them.
      ca, certificate, key: files in PEM; the authority that signed the server's certificate, and our own.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)

    def hide(self, text: str) -> str:
        """Take secrets out of a text: a server may repeat what it was sent. Of one that was cut off, what there is of it.

        Values of less than 4 characters stay: they are in every text.

        >>> credentials = Credentials({"authorization": "Basic abcdefghijkl", "x-tenant": "a"})
        >>> credentials.hide("no such token: abcdefghijkl, a Basic abcdefghi")
        'no such token: ***, a Basic ***'
        >>> credentials.hide("a Basic abcd"), credentials.hide("output 'abc…'")
        ('a Basic ***', "output '***…'")
        """
        for secret in self._secrets:
            shortest = secret if " " in secret else secret[:CUT]  # with a space it may begin with a word of any text
            while (start := text.find(shortest)) >= 0:
                end = start + len(shortest)
                while end < len(text) and end - start < len(secret) and text[end] == secret[end - start]:
                    end += 1
                text = text[:start] + HIDDEN + text[end:]
            for length in range(min(CUT, len(secret)) - 1, SHORTEST_CUT - 1, -1):
                mark = r"(?=…|\.\.\.|$)" if length >= SHORTEST else r"(?=…|\.\.\.)"
                text = re.sub(re.escape(secret[:length]) + mark, HIDDEN, text)
        return text

    @property
    def _secrets(self) -> list[str]:
        """Values, and what follows a scheme's name in them; as they are, and as JSON has them. The longest first."""
        found = {part for value in self.headers.values() for part in (value, value.partition(" ")[2].strip())}
        found |= {json.dumps(secret)[1:-1] for secret in found}
        return sorted((secret for secret in found if len(secret) >= SHORTEST and HIDDEN not in secret), key=len, reverse=True)


def credentials_for(host: str, *, encrypted: bool, environ: Mapping[str, str] | None = None) -> Credentials:
    """Return what a host is told.

    Args:
      host: with its port, as the job has it.
      encrypted: whether the connection is.
      environ: the environment.
    Raises: ModelError: a file cannot be read, is open to others or holds something else; a secret would go over the wire in
      the clear; half a certificate.
    """
    raw: dict[str, Any] = {key: value for key, place in PLACES.items() if (value := place.get(environ))}
    if file := ENDPOINT_CREDENTIALS.get(environ):
        raw = {**_of_host(_read(Path(file)), host, file), **raw}
    headers = _headers(raw.get("headers", {}))
    if token := str(raw.get("token", "")).strip():
        headers["authorization"] = f"Bearer {token}"
    _check_sendable(headers)
    if headers and not encrypted and not is_here(host):
        raise ModelError(
            f"endpoint {host}: a token or header would go over the wire in the clear; expected grpcs:// or https:// "
            f"(it comes from {ENDPOINT_TOKEN.name}, {ENDPOINT_HEADERS.name} or the file of {ENDPOINT_CREDENTIALS.name})"
        )
    ca, certificate, key = (_path(raw.get(name), name) for name in ("ca", "certificate", "key"))
    if (certificate is None) != (key is None):
        raise ModelError(f"{ENDPOINT_CERTIFICATE.name} and {ENDPOINT_KEY.name}: expected both or none, found one")
    if key is not None:
        _check_private(key)
    if encrypted:
        check_certificates(ca, certificate, key)
    return Credentials(headers, ca, certificate, key)


def _of_host(raw: Mapping[str, Any], host: str, file: str) -> dict[str, Any]:
    """Return what a file says for a host: for all, unless it lists hosts."""
    if "hosts" in raw:
        if not isinstance(raw["hosts"], Mapping) or len(raw) > 1:
            raise ModelError(f"{file}: expected hosts: {{HOST:PORT: {{token: ...}}}} and nothing beside it")
        raw = raw["hosts"].get(host) or {}
    if not isinstance(raw, Mapping) or (unknown := sorted(set(raw) - set(KEYS))):
        problem = f"found {', '.join(map(str, unknown))}" if isinstance(raw, Mapping) else "found something else"
        raise ModelError(f"{file}: expected the keys {', '.join(KEYS)}, {problem}")
    return dict(raw)


def _read(path: Path) -> Mapping[str, Any]:
    _check_private(path)
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        # What PyYAML says shows a line of the file.
        raise ModelError(f"{path}: expected credentials as YAML: the keys {', '.join(KEYS)}") from None
    if not isinstance(raw, Mapping):
        raise ModelError(f"{path}: expected credentials as YAML: the keys {', '.join(KEYS)}")
    return raw


def _check_private(path: Path) -> None:
    """See that nobody else can read a file.

    Raises: ModelError: somebody can, or it is not there.
    """
    try:
        status = path.stat()
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise ModelError(f"{path}: holds secrets, and others can read it; expected a file of your own: chmod 600 {path}")


def _headers(raw: Any) -> dict[str, str]:
    """Return headers, given as a mapping or as lines NAME: VALUE.

    >>> _headers("X-Tenant: a\\nx-key: b:c")
    {'x-tenant': 'a', 'x-key': 'b:c'}
    """
    if isinstance(raw, Mapping):
        return {str(name).lower(): str(value) for name, value in raw.items()}
    headers = {}
    for line in filter(str.strip, str(raw).splitlines()):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ModelError(f"{ENDPOINT_HEADERS.name}: expected a line NAME: VALUE for each header, found one without a colon")
        headers[name.strip().lower()] = value.strip()
    return headers


def _check_sendable(headers: Mapping[str, str]) -> None:
    """See that headers can be sent: names of letters, digits and dashes, values of printable ASCII.

    Raises: ModelError: one cannot; what it holds is not said.
    """
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            shown = f"the value of header '{name}'" if HEADER_NAME.fullmatch(name) else "the name of a header"
            raise ModelError(
                f"endpoint: {shown} holds characters that no header can have, a line break perhaps; it comes from "
                f"{ENDPOINT_TOKEN.name}, {ENDPOINT_HEADERS.name} or the file of {ENDPOINT_CREDENTIALS.name}"
            )


def _path(raw: Any, name: str) -> Path | None:
    if not raw:
        return None
    path = Path(str(raw))
    if not path.is_file():
        raise ModelError(f"{PLACES[name].name}: {path}: no such file")
    return path


def is_here(host: str) -> bool:
    """Say whether a host is this machine.

    >>> is_here("localhost:8500"), is_here("[::1]:80"), is_here("127.0.0.1"), is_here("127.evil.example:80")
    (True, True, True, False)
    """
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
