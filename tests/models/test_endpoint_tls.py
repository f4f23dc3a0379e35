"""Certificates, keys and tokens of endpoints: what is wrong is said in plain words before any work, and no secret in any of them."""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from harness.errors import ModelError
from harness.job.specs import ModelSpec
from harness.models.credentials import Credentials
from harness.models.endpoint import identify

pytestmark = pytest.mark.slow

SECRET = "hunter2-token-of-mine"
NAMES = ("TOKEN", "HEADERS", "CA", "CERTIFICATE", "KEY", "CREDENTIALS")


def openssl(folder, *words):
    subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities, and what the first of them signed: servers' certificates, one of a client."""
    folder = tmp_path_factory.mktemp("certificates")

    def key(name):
        openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        (folder / f"{name}.key").chmod(0o600)

    for name in ("ca", "other"):
        key(name)
        openssl(folder, "req", "-x509", "-new", "-key", f"{name}.key", "-days", 2, "-subj", f"/CN={name}", "-out", f"{name}.pem")
    for name, host, days in (
        ("good", "IP:127.0.0.1", 2),
        ("elsewhere", "DNS:elsewhere.example", 2),
        ("expired", "IP:127.0.0.1", -1),
        ("client", "DNS:client", 2),
    ):
        key(name)
        (folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
    openssl(folder, "ec", "-in", "client.key", "-aes128", "-passout", "pass:abcd", "-out", "locked.key")
    (folder / "locked.key").chmod(0o600)
    return folder


class Endpoint:
    """A server with TLS that knows no model; `mutual` servers want a certificate that the first authority signed."""

    def __init__(self, kind, folder, leaf, *, mutual):
        authority = (folder / "ca.pem").read_bytes() if mutual else None
        if kind == "grpcs":
            pair = [((folder / f"{leaf}.key").read_bytes(), (folder / f"{leaf}.pem").read_bytes())]
            self._server = grpc.server(ThreadPoolExecutor(1))
            self.port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair, authority, mutual))
            self._server.start()
            self.close = lambda: self._server.stop(0).wait()
            return

        class Absent(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(404)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Absent)
        self._server.handle_error = lambda *args: None  # handshakes that fail
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / f"{leaf}.pem", folder / f"{leaf}.key")
        if mutual:
            context.load_verify_locations(folder / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.close = lambda: (self._server.shutdown(), self._server.server_close())


REACHED = "expected model 'm', and the server says: serving: (UNIMPLEMENTED|404)"
UNSIGNED = "TLS: nobody whom this machine trusts signed the server's certificate; HARNESS_ENDPOINT_CA names"
WANTED = "a server that wants a certificate of ours does so: HARNESS_ENDPOINT_CERTIFICATE and HARNESS_ENDPOINT_KEY"
NOT_TAKEN = "a server that does not take that of HARNESS_ENDPOINT_CERTIFICATE and HARNESS_ENDPOINT_KEY does so"
OURS = {"CA": "ca.pem", "CERTIFICATE": "client.pem", "KEY": "client.key"}
# What serves, whether it wants a certificate of the client, what we have, what is said.
CASES = {
    "all is well": ("good", False, {"CA": "ca.pem"}, REACHED),
    "all is well, with our own": ("good", True, OURS, REACHED),
    "unknown authority": ("good", False, {}, UNSIGNED),
    "another authority": ("good", False, {"CA": "other.pem"}, UNSIGNED),
    "expired": ("expired", False, {"CA": "ca.pem"}, "TLS: the server's certificate has expired"),
    "another host": ("elsewhere", False, {"CA": "ca.pem"}, "TLS: the server's certificate is that of another host"),
    "none of ours": ("good", True, {"CA": "ca.pem"}, WANTED),
    "not trusted there": ("good", True, {**OURS, "CERTIFICATE": "other.pem", "KEY": "other.key"}, NOT_TAKEN),
    "key of another": ("good", True, {**OURS, "KEY": "other.key"}, "other.key: the key is not that of the certificate"),
    "key with a password": ("good", True, {**OURS, "KEY": "locked.key"}, "the key without a password"),
    "no certificate": ("good", True, {**OURS, "CERTIFICATE": "client.ext"}, "client.ext .*expected a certificate and its key in PEM"),
    "half": ("good", True, {"CA": "ca.pem", "KEY": "client.key"}, "HARNESS_ENDPOINT_KEY: expected both or none"),
    "no authority": ("good", False, {"CA": "client.key"}, "CA: .*client.key: expected certificates in PEM, found none"),
    "not there": ("good", False, {"CA": "gone.pem"}, "CA: .*gone.pem: no such file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["grpcs", "https"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_with_certificates_is_said(certificates, monkeypatch, kind, name):
    leaf, mutual, files, message = CASES[name]
    for variable, file in files.items():
        monkeypatch.setenv(f"HARNESS_ENDPOINT_{variable}", str(certificates / file))
    monkeypatch.setenv("HARNESS_ENDPOINT_TOKEN", SECRET)
    endpoint = Endpoint(kind, certificates, leaf, mutual=mutual)
    try:
        with pytest.raises(ModelError, match=message) as failure:
            identify(ModelSpec(endpoint=f"{kind}://127.0.0.1:{endpoint.port}", name="m", give_up=1.0, deadline=1.0))
    finally:
        endpoint.close()
    text = str(failure.value)
    assert failure.value.exit_code == 2 and "hunter2" not in text and "BEGIN" not in text
    assert message == REACHED or name in ("none of ours", "not trusted there") or "the address of the right port" not in text


def test_tls_at_a_port_without_it_is_said(monkeypatch):
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(ModelError, match="the server does not speak TLS at this port; grpc:// and http:// are without"):
            identify(ModelSpec(endpoint=f"grpcs://127.0.0.1:{port}", name="m", give_up=1.0, deadline=1.0))
    finally:
        server.stop(0).wait()


def credentials(folder, text, mode=0o600):
    path = folder / "credentials.yaml"
    path.write_text(text)
    path.chmod(mode)
    return {"CREDENTIALS": str(path)}


def loose_key(folder, certificates):
    path = folder / "loose.key"
    path.write_bytes((certificates / "client.key").read_bytes())
    path.chmod(0o640)
    return {"CERTIFICATE": str(certificates / "client.pem"), "KEY": str(path)}


# The scheme, what there is, what is said.
SECRETS = {
    "a token file that others read": ("grpcs", lambda f, c: credentials(f, f"token: {SECRET}", 0o644), "others can read it; .*chmod 600"),
    "a key that others read": ("https", loose_key, "loose.key: holds secrets, and others can read it; .*chmod 600"),
    "a token in the clear, gRPC": ("grpc", lambda f, c: {"TOKEN": SECRET}, "in the clear; expected grpcs:// or https://"),
    "a token in the clear, REST": ("http", lambda f, c: credentials(f, f"token: {SECRET}"), "in the clear; expected grpcs:// or https://"),
    "a header in the clear": ("http", lambda f, c: {"HEADERS": f"x-key: {SECRET}"}, "in the clear"),
    "a line break in a token": ("https", lambda f, c: {"TOKEN": f"{SECRET}\nx: y"}, "the value of header 'authorization' holds .*a line break"),
    "a line break in a file": ("grpcs", lambda f, c: credentials(f, f'token: "{SECRET}\\nx"'), "a line break perhaps"),
    "a header without a name": ("grpcs", lambda f, c: {"HEADERS": SECRET}, "found one without a colon"),
    "no YAML": ("grpcs", lambda f, c: credentials(f, f"token: [{SECRET}"), "expected credentials as YAML"),
    "another key": ("grpcs", lambda f, c: credentials(f, f"tokn: {SECRET}"), "expected the keys token, .*found tokn"),
    "hosts that are none": ("grpcs", lambda f, c: credentials(f, f"hosts: [{SECRET}]"), "expected hosts:"),
    "no file": ("grpcs", lambda f, c: {"CREDENTIALS": str(f / "gone.yaml")}, "gone.yaml: cannot be read: No such file"),
}  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_that_are_not_kept_are_refused_without_being_shown(harness, world, certificates, tmp_path, name):
    scheme, prepare, message = SECRETS[name]
    environ = {f"HARNESS_ENDPOINT_{key}": value for key, value in prepare(tmp_path, certificates).items()}
    model = {"endpoint": f"{scheme}://models.example:443", "name": "m"}
    job = world.job(tmp_path / "job.yaml", model=model, output=str(tmp_path / "run"))
    done = harness("evaluate", job, environ=environ)
    assert done.code == 2 and "Traceback" not in done.text, done.text
    assert "hunter2" not in done.text and not any(
        b"hunter2" in path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()
    )
    assert re.search(message, " ".join(done.err.split())), done.err


@pytest.mark.parametrize("cut", range(2, len(SECRET) + 1))
@pytest.mark.parametrize("form", ["output '{}…'", "{}...", "bad token {}… of yours"])
def test_a_secret_that_was_cut_is_hidden(cut, form):
    hidden = Credentials({"authorization": f"Bearer {SECRET}"}).hide(form.format(SECRET[:cut]))
    assert hidden == form.format("***")


def test_a_text_without_a_secret_stays():
    text = "output 'hubris' is float32, humans and 'hunt' are others"
    assert Credentials({"x-key": SECRET}).hide(text) == text
