"""HTTP connections to one address, kept and spread over all that its name stands for; failures as `CallFailed`."""

from __future__ import annotations

import email.utils
import http.client
import io
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.errors import ModelError
from harness.models.credentials import credentials_for
from harness.models.served import CallFailed
from harness.models.tls import explained, is_refusal

__all__ = ["HttpPool", "may_be_half"]

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
        self._encrypted = encrypted = parts.scheme == "https"
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
        for each in self._pools:
            each.ConnectionCls = _whole(each.ConnectionCls)
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
        errors, timeout = self._urllib3.exceptions, self._urllib3.Timeout(deadline_s, connect=min(deadline_s, CONNECT_S))
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
            # A connection that ends in the handshake may be that of a server that is going down.
            again = "EOF occurred" in str(exc) and not is_refusal(str(exc))
            raise CallFailed("CONNECTION" if again else "TLS", self._explained(exc), again=again) from exc
        except (errors.HTTPError, OSError) as exc:
            # Refused, reset, or ended before the last byte.
            raise CallFailed("CONNECTION", self._explained(exc), again=True) from exc
        if reply.status != 200:
            text = self._shown(reply.data.decode("utf-8", "replace"))
            again, after_s = reply.status in AGAIN, retry_after_s(reply.headers.get("retry-after", ""))
            raise CallFailed(str(reply.status), text, again=again, after_s=after_s)
        return reply.data, reply.headers

    def parsed(self, body: bytes, headers: Mapping[str, str] | None = None) -> Any:
        """Return what JSON says.

        Args:
          body: of a reply.
          headers: of it.
        Raises: CallFailed: it is none.
        """
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as exc:
            found = self.hide(body.decode("utf-8", "replace"))[:60]
            text = f"expected JSON, found {found!r} ({len(body):,} bytes)"
            raise CallFailed("REPLY", text, again=may_be_half(headers)) from exc

    def hide(self, text: str) -> str:
        """Take secrets out of a text."""
        return self._credentials.hide(text)

    def _explained(self, exc: Exception) -> str:
        why = explained(str(exc), certified=self._credentials.certificate is not None) if self._encrypted else ""
        return self._shown(f"{why} ({exc})" if why else str(exc))

    def _shown(self, text: str) -> str:
        return self.hide(" ".join(self.hide(text).split()))[:SHOWN]

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            pool.close()


def retry_after_s(text: str) -> float:
    r"""Return how many seconds a Retry-After header asks for: a number, or a date.

    >>> [retry_after_s(text) for text in ("2", "", "soon", "\N{SUPERSCRIPT TWO}", "Wed, 21 Oct 2015 07:28:00 GMT")]
    [2.0, 0.0, 0.0, 0.0, 0.0]
    """
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


def may_be_half(headers: Mapping[str, str] | None) -> bool:
    """Say whether a reply ended where its connection did: it said neither its length nor that it comes in pieces.

    >>> may_be_half({}), may_be_half({"content-length": "9"}), may_be_half({"transfer-encoding": "chunked"})
    (True, False, False)
    """
    return headers is not None and not {"content-length", "transfer-encoding"} & {name.lower() for name in headers}


def _whole(connection: Any) -> Any:
    """Return a class of connections whose replies have to be whole within the time that they have: urllib3 bounds each read."""
    return type(connection.__name__, (connection,), {"response_class": _Reply})


class _Reply(http.client.HTTPResponse):
    """Begins to count when it begins to be read."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        if (left_s := sock.gettimeout()) is not None:
            self.fp = io.BufferedReader(_Bounded(self.fp, sock, time.monotonic() + left_s))


class _Bounded(io.RawIOBase):
    """What comes through a socket, up to a moment."""

    def __init__(self, stream: io.BufferedIOBase, sock: socket.socket, end: float) -> None:
        self._stream, self._sock, self._end = stream, sock, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the reply is not whole")
        self._sock.settimeout(left_s)
        return self._stream.readinto1(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


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
