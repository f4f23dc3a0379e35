"""A gRPC channel to one address, and what goes wrong on it as `CallFailed`. Knows no protocol above gRPC."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from harness.errors import ModelError
from harness.models.credentials import Credentials, credentials_for, is_here
from harness.models.served import CallFailed
from harness.models.tls import explained, is_refusal

__all__ = ["GrpcChannel"]

AGAIN = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
PUSHBACK = "grpc-retry-pushback-ms"  # the gRPC way to say Retry-After
SHOWN = 400  # letters of what a server says
OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A name with several addresses is spread over.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.enable_retries", 0),  # ours alone, so that each is counted
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),
]


class GrpcChannel:
    """One address: its connections are kept, and several requests share them.

    Args:
      url: grpc://HOST:PORT, or grpcs:// with TLS.
    Raises: ModelError: gRPC is not installed, or the credentials are not usable.

    Attributes:
      address: host and port.
    """

    def __init__(self, url: str) -> None:
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # what fails is raised; its log would say it again
        try:
            import grpc
        except ImportError as exc:
            raise ModelError(f"endpoint {url}: gRPC is not installed: pip install 'exact-harness[endpoints]'") from exc
        self._grpc = grpc
        parts = urlsplit(url)
        self.address = parts.netloc
        self._encrypted = parts.scheme == "grpcs"
        self._credentials = credentials_for(parts.netloc, encrypted=self._encrypted)
        self._metadata = tuple(self._credentials.headers.items())
        target = f"dns:///{parts.netloc}"
        # What is told to this machine alone goes through no proxy of the environment.
        options = [*OPTIONS, ("grpc.enable_http_proxy", int(not is_here(parts.netloc)))]
        if self._encrypted:
            self._channel = grpc.secure_channel(target, _tls(grpc, self._credentials), options)
        else:
            self._channel = grpc.insecure_channel(target, options)

    def method(self, path: str, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> Callable[[Any, float], Any]:
        """Return a method: it takes a request and a deadline in seconds, and raises `CallFailed`."""
        call = self._channel.unary_unary(path, request_serializer=encode, response_deserializer=decode)

        def ask(request: Any, deadline_s: float) -> Any:
            try:
                return call(request, timeout=deadline_s, metadata=self._metadata)
            except self._grpc.RpcError as exc:
                raise self._failure(exc) from exc

        return ask

    def _failure(self, exc: Any) -> CallFailed:
        code, text = exc.code().name, self.hide(" ".join(self.hide(exc.details() or "").split()))[:SHOWN]
        if code == "UNAVAILABLE" and self._encrypted:
            ours = "last error: " in text  # gRPC's own words; all others may be the server's, or those of a proxy before it
            refused = ours and is_refusal(text)
            told = ours or not (is_refusal(text) or text.startswith("upstream "))
            why = explained(text, certified=self._credentials.certificate is not None) if told else ""
            text = f"{why} ({text})" if why else text
            if refused:
                return CallFailed("TLS", text)  # a certificate stays what it is
        # One that is too large stays so; a stream that was reset is a connection's end.
        again = (code in AGAIN and "larger than max" not in text) or "RST_STREAM" in text
        pushback = dict(exc.trailing_metadata() or ()).get(PUSHBACK, "")
        after_s = int(pushback) / 1000 if re.fullmatch("[0-9]{1,12}", str(pushback)) else 0.0
        return CallFailed(code, text, again=again, after_s=after_s)

    def hide(self, text: str) -> str:
        """Take secrets out of a text."""
        return self._credentials.hide(text)

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()


def _tls(grpc: Any, credentials: Credentials) -> Any:
    parts = (path.read_bytes() if path else None for path in (credentials.ca, credentials.key, credentials.certificate))
    return grpc.ssl_channel_credentials(*parts)
