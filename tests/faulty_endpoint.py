"""Stands between the harness and a model server, and spoils some of what passes: gRPC as bytes, HTTP/1.1 as requests.

A *fault* is a function of the number of the request and the reply that the server gave; it returns what is sent on, or raises.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc

PREDICT = ("/Predict", "/ModelInfer")


class GrpcFaults(grpc.GenericRpcHandler):
    """Passes every call on; those that predict go through `fault(number, forward, context)`, which calls `forward()`."""

    def __init__(self, target, fault):
        # A server that is back is found soon, however long it was away.
        self._channel = grpc.insecure_channel(target, [("grpc.max_reconnect_backoff_ms", 500)])
        self._fault = fault
        self._lock = threading.Lock()
        self.asked = 0
        self.metadata = []
        self._server = grpc.server(ThreadPoolExecutor(32), handlers=[self])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details):
        call = self._channel.unary_unary(details.method)

        def handle(request, context):
            def forward(changed=None):
                try:
                    return call(request if changed is None else changed, timeout=60)
                except grpc.RpcError as exc:
                    context.abort(exc.code(), exc.details())

            if not details.method.endswith(PREDICT):
                return forward()
            with self._lock:
                number, self.asked = self.asked, self.asked + 1
                self.metadata.append(dict(context.invocation_metadata()))
            return self._fault(number, forward, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def close(self):
        self._server.stop(0).wait()
        self._channel.close()


class HttpFaults:
    """Passes every request on; those of POST go through `fault(number, reply, handler)`: a reply is (status, headers, body).

    Where `metadata` are given, they answer GET, by path, and no server stands behind. `at` is host and port; 0 is any.
    """

    def __init__(self, port, fault, metadata=None, at=("127.0.0.1", 0)):
        outer = self
        self.asked = 0
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                if metadata is None:
                    return self.send(*self.forward(b""))
                found = metadata.get(self.path)
                return self.send(404 if found is None else 200, {}, json.dumps(found).encode())

            def do_POST(self):
                self.body = body = self.rfile.read(int(self.headers["content-length"]))
                with outer._lock:
                    number, outer.asked = outer.asked, outer.asked + 1
                reply = fault(number, lambda: self.forward(body), self)
                if reply is not None:
                    self.send(*reply)

            def forward(self, body):
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    upstream.request(self.command, self.path, body or None, {"content-type": "application/json"})
                    reply = upstream.getresponse()
                    return reply.status, {}, reply.read()
                finally:
                    upstream.close()

            def send(self, status, headers, body):
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(at, Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def waited(seconds):
    """Wait, as a server does that is slow."""
    time.sleep(seconds)
