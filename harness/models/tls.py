"""What is wrong with certificates, in plain words: with our own files before any work, and what a handshake failed of."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from harness.errors import ModelError
from harness.names.variables import ENDPOINT_CA, ENDPOINT_CERTIFICATE, ENDPOINT_KEY

__all__ = ["check_certificates", "explained", "is_refusal"]

PORT = "grpc:// and http:// are without TLS"
CAUSES = (
    (
        re.compile(r"unable to get (local )?issuer|self[- ]signed", re.IGNORECASE),
        f"nobody whom this machine trusts signed the server's certificate; {ENDPOINT_CA.name} names the PEM file of who did",
    ),
    (re.compile(r"has expired", re.IGNORECASE), "the server's certificate has expired, by the clock of this machine"),
    (re.compile(r"not yet valid", re.IGNORECASE), "the server's certificate is not valid yet, by the clock of this machine"),
    (
        re.compile(r"hostname|verification check failed|doesn't match", re.IGNORECASE),
        "the server's certificate is that of another host; the URL has to have the host's name as the certificate has it",
    ),
    (
        re.compile(r"wrong_version_number|http_request|packet_length", re.IGNORECASE),
        f"the server does not speak TLS at this port; {PORT}",
    ),
)
VERIFICATION = re.compile("CERTIFICATE_VERIFY_FAILED", re.IGNORECASE)
ENDED = re.compile(
    r"socket closed|connection (reset|aborted)|EOF occurred|broken pipe|handshaker? (failed|shutdown)|alert|certificate.required",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Say whether a handshake failed of something that stays so.

    >>> is_refusal("CERTIFICATE_VERIFY_FAILED: certificate has expired"), is_refusal("Socket closed")
    (True, False)
    """
    return VERIFICATION.search(text) is not None or any(pattern.search(text) for pattern, _ in CAUSES)


def explained(text: str, *, certified: bool) -> str:
    """Return what a failure over TLS mostly comes of; nothing where that is not known.

    Args:
      text: what the library says.
      certified: whether we have a certificate of our own.

    >>> explained("CERTIFICATE_VERIFY_FAILED: certificate has expired", certified=False)
    "the server's certificate has expired, by the clock of this machine"
    >>> explained("Socket closed", certified=False).partition(":")[0]
    'the connection ended in the handshake or soon after; a server that wants a certificate of ours does so'
    """
    if cause := next((words for pattern, words in CAUSES if pattern.search(text)), ""):
        return cause
    if not ENDED.search(text):
        return ""
    names = f"{ENDPOINT_CERTIFICATE.name} and {ENDPOINT_KEY.name}"
    wants = f"does not take that of {names} does so" if certified else f"wants a certificate of ours does so: {names}"
    return f"the connection ended in the handshake or soon after; a server that {wants}"


def check_certificates(ca: Path | None, certificate: Path | None, key: Path | None) -> None:
    """See that files hold what they are to hold, and that key and certificate belong together.

    Raises: ModelError: one does not; names the file and its variable, and shows nothing of it.
    """
    if ca is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        except (ssl.SSLError, OSError) as exc:
            raise ModelError(f"{ENDPOINT_CA.name}: {ca}: expected certificates in PEM, found none that can be read") from exc
    if certificate is None or key is None:
        return
    names = f"{ENDPOINT_CERTIFICATE.name} and {ENDPOINT_KEY.name}: {certificate} and {key}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, key, password=_refused)
    except (ssl.SSLError, OSError, ValueError) as exc:
        if "KEY_VALUES_MISMATCH" in str(exc):
            raise ModelError(f"{names}: the key is not that of the certificate") from exc
        raise ModelError(f"{names}: expected a certificate and its key in PEM, the key without a password") from exc


def _refused() -> str:
    """Stand in for a password that nobody is asked for."""
    raise ValueError("the key has a password")
