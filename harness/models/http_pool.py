"""HTTP connections to one address, kept and spread over all that its name stands for; failures as `CallFailed`."""

from __future__ import annotations

import email.utils
import itertools
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.errors import ModelError
from harness.models.credentials import credentials_for
from harness.models.served import CallFailed

__all__ = ["HttpPool"]

AGAIN = (429, 502, 503, 504)
SHOWN = 400  # letters of what a server says
CONNECT_S = 10.0


class HttpPool:
    """One address of a job; its name may stand for several hosts.

    Args:
      url: http://HOST:PORT or https://, with a path in front of the protocol's own where there is one.
      connections: kept to each host.
    Raises: ModelError: urllib3 is not installed, the name stands for nothing, or the credentials are not usable.
    """

    def __init__(self, url: str, connections: int) -> None:
        try:
            import urllib3
        except ImportError as exc:
            raise ModelError(f"endpoint {url}: urllib3 is not installed: pip install 'exact-harness[endpoints]'") from exc
        self._urllib3 = urllib3
        parts = urlsplit(url)
        encrypted = parts.scheme == "https"
        self._credentials = credentials_for(parts.netloc, encrypted=encrypted)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"host": parts.netloc, "connection": "keep-alive", **self._credentials.headers}
        host, port = parts.hostname or "", parts.port or (443 if encrypted else 80)
        options: dict[str, Any] = {"maxsize": connections, "block": False, "retries": False}
        if encrypted:
            paths = {"ca_certs": "ca", "cert_file": "certificate", "key_file": "key"}
            files = {option: getattr(self._credentials, name) for option, name in paths.items()}
            options |= {option: str(path) for option, path in files.items() if path} | {
                "cert_reqs": "CERT_REQUIRED", "server_hostname": host, "assert_hostname": host,
            }  # fmt: skip
        pool = urllib3.HTTPSConnectionPool if encrypted else urllib3.HTTPConnectionPool
        self._pools = [pool(address, port, **options) for address in _addresses(host, port, url)]
        self._turn = itertools.cycle(range(len(self._pools)))
        self._lock = threading.Lock()

    def get(self, path: str, deadline_s: float) -> Any:
        """Return the JSON that lies at a path.

        Raises: CallFailed: there is none.
        """
        body, _ = self.request("GET", path, b"", {}, deadline_s)
        return self.parsed(body)

    def request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return body and headers of the reply.

        Raises: CallFailed: it is none of success.
        """
        errors, timeout = self._urllib3.exceptions, self._urllib3.Timeout(min(deadline_s, CONNECT_S), deadline_s)
        with self._lock:
            pool = self._pools[next(self._turn)]
        try:
            reply = pool.urlopen(
                method, self._prefix + path, body=body or None, headers={**self._headers, **headers},
                timeout=timeout, redirect=False, assert_same_host=False,
            )  # fmt: skip
        except errors.TimeoutError as exc:
            raise CallFailed("DEADLINE", f"no reply within {deadline_s:g} s", again=True) from exc
        except errors.SSLError as exc:
            raise CallFailed("TLS", self._shown(str(exc))) from exc
        except (errors.HTTPError, OSError) as exc:
            # Refused, reset, or ended before the last byte.
            raise CallFailed("CONNECTION", self._shown(str(exc)), again=True) from exc
        if reply.status != 200:
            text = self._shown(reply.data.decode("utf-8", "replace"))
            again, after_s = reply.status in AGAIN, retry_after_s(reply.headers.get("retry-after", ""))
            raise CallFailed(str(reply.status), text, again=again, after_s=after_s)
        return reply.data, reply.headers

    @staticmethod
    def parsed(body: bytes) -> Any:
        """Return what JSON says.

        Raises: CallFailed: it is none.
        """
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise CallFailed("REPLY", f"expected JSON, found {body[:60]!r} ({len(body):,} bytes)") from exc

    def _shown(self, text: str) -> str:
        return self._credentials.hide(" ".join(text.split())[:SHOWN])

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            pool.close()


def retry_after_s(text: str) -> float:
    """Return how many seconds a Retry-After header asks for: a number, or a date.

    >>> retry_after_s("2"), retry_after_s(""), retry_after_s("soon"), retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT")
    (2.0, 0.0, 0.0, 0.0)
    """
    if text.strip().isdigit():
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _addresses(host: str, port: int, url: str) -> list[str]:
    """Return all addresses of a name.

    Raises: ModelError: there are none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise ModelError(f"endpoint {url}: {host}: {exc.strerror or exc}") from exc
    families = {entry[0] for entry in found}
    kind = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6  # one host often has both: it is asked once
    return list(dict.fromkeys(str(entry[4][0]) for entry in found if entry[0] == kind))
