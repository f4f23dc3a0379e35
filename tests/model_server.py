"""A server of SavedModels as TensorFlow Serving is one, made of tensorflow-serving-api's own classes: gRPC and REST.

Run as a process of its own: `python -m tests.model_server NAME=FOLDER ...`; it prints its two ports as JSON. A folder holds numbered
versions; the file `serve.json` in it, read again for each request, may say {"default": 2, "labels": {"stable": 1}, "delay_s": 0.1}.
The C++ server is in no registry that the tests can reach; requests and replies are the same messages.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc


class Absent(Exception):
    """There is no such model, version or signature."""


class Served:
    """The versions of one model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded = {}
        self._lock = threading.Lock()

    def state(self):
        path = self._folder / "serve.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def version(self, spec_version=None, label=None) -> int:
        versions = sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())
        state = self.state()
        wanted = spec_version or (state.get("labels", {}).get(label) if label else state.get("default", versions[-1]))
        if wanted not in versions:
            raise Absent(f"Servable not found for request: {'Label ' + label if label else 'Specific'}({wanted})")
        return wanted

    def model(self, version: int):
        with self._lock:
            if version not in self._loaded:
                self._loaded[version] = tf.saved_model.load(str(self._folder / str(version)))
            return self._loaded[version]

    def signature_defs(self, version: int):
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        saved = SavedModel.FromString((self._folder / str(version) / "saved_model.pb").read_bytes())
        return saved.meta_graphs[0].signature_def

    def predict(self, version: int, signature: str, tensors):
        time.sleep(self.state().get("delay_s", 0))
        functions = self.model(version).signatures
        if signature not in functions:
            raise Absent(f'Serving signature key "{signature}" not found.')
        return functions[signature](**{name: tf.constant(array) for name, array in tensors.items()})


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """PredictionService, as far as it predicts and tells metadata."""

    def __init__(self, models) -> None:
        self._models = models

    def _spec(self, spec):
        if spec.name not in self._models:
            raise Absent(f"Servable not found for request: Latest({spec.name})")
        served = self._models[spec.name]
        return served, served.version(spec.version.value if spec.HasField("version") else None, spec.version_label)

    def Predict(self, request, context):
        try:
            served, version = self._spec(request.model_spec)
            name = request.model_spec.signature_name or "serving_default"
            outputs = served.predict(version, name, {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()})
        except Absent as exc:
            context.abort(grpc.StatusCode.NOT_FOUND, str(exc))
        except (ValueError, TypeError, tf.errors.OpError) as exc:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc)[:500])
        reply = predict_pb2.PredictResponse()
        reply.model_spec.name, reply.model_spec.version.value = request.model_spec.name, version
        reply.model_spec.signature_name = name
        for key, tensor in outputs.items():
            reply.outputs[key].CopyFrom(tf.make_tensor_proto(tensor.numpy()))
        return reply

    def GetModelMetadata(self, request, context):
        try:
            served, version = self._spec(request.model_spec)
        except Absent as exc:
            context.abort(grpc.StatusCode.NOT_FOUND, str(exc))
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.model_spec.name, reply.model_spec.version.value = request.model_spec.name, version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, value in served.signature_defs(version).items():
            signatures.signature_def[key].CopyFrom(value)
        reply.metadata["signature_def"].Pack(signatures)
        return reply


def _handler(models):
    class Rest(BaseHTTPRequestHandler):
        """TensorFlow Serving's REST: rows and columns, base64, /versions/N and /labels/L."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a reply's head and body are two packets

        def _find(self, ending):
            match = re.fullmatch(rf"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?{ending}", self.path)
            if not match or match[1] not in models:
                raise Absent(f"Malformed request, or no such model: {self.path}")
            served = models[match[1]]
            return served, served.version(int(match[2]) if match[2] else None, match[3])

        def do_GET(self):
            try:
                served, version = self._find("/metadata")
                signatures = {
                    key: json_format.MessageToDict(value, preserving_proto_field_name=True)
                    for key, value in served.signature_defs(version).items()
                }
            except Absent as exc:
                return self._reply(404, {"error": str(exc)})
            named = {"@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap", "signature_def": signatures}
            spec = {"name": self.path.split("/")[3], "signature_name": "", "version": str(version)}
            return self._reply(200, {"model_spec": spec, "metadata": {"signature_def": named}})

        def do_POST(self):
            raw = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                served, version = self._find(":predict")
                name = raw.get("signature_name", "serving_default")
                specs = served.signature_defs(version)[name].inputs
                rows = "instances" in raw
                columns = {key: [row[key] for row in raw["instances"]] for key in raw["instances"][0]} if rows else raw["inputs"]
                tensors = {key: _array(values, tf.as_dtype(specs[key].dtype)) for key, values in columns.items()}
                outputs = {key: _plain(tensor.numpy()) for key, tensor in served.predict(version, name, tensors).items()}
            except Absent as exc:
                return self._reply(404, {"error": str(exc)})
            except (ValueError, TypeError, KeyError, tf.errors.OpError) as exc:
                return self._reply(400, {"error": str(exc)[:300]})
            only = next(iter(outputs.values())) if len(outputs) == 1 else None
            if not rows:
                return self._reply(200, {"outputs": outputs if only is None else only})
            by_row = (
                only
                if only is not None
                else [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
            )
            return self._reply(200, {"predictions": by_row})

        def _reply(self, code, document):
            body = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    return Rest


def _array(values, dtype):
    if dtype == tf.string:
        return np.vectorize(
            lambda value: base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode(), otypes=[object]
        )(np.array(values, object))
    return np.array(values, dtype.as_numpy_dtype)


def _plain(array):
    if array.dtype == object:
        return [_plain(part) if isinstance(part, np.ndarray) else {"b64": base64.b64encode(part).decode()} for part in array]
    return (
        json.loads(json.dumps([[float(str(v)) for v in row] for row in array]))
        if array.dtype == np.float32 and array.ndim == 2
        else array.tolist()
    )


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    ports = [argument for argument in sys.argv[1:] if argument.startswith("--ports=")]
    grpc_port, rest_port = map(int, ports[0].removeprefix("--ports=").split(",")) if ports else (0, 0)
    models = {
        name: Served(Path(folder)) for name, folder in (word.split("=", 1) for word in sys.argv[1:] if not word.startswith("--"))
    }
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(models), server)
    grpc_port = server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    rest = ThreadingHTTPServer(("127.0.0.1", rest_port), _handler(models))
    rest.daemon_threads = True
    for served in models.values():
        served.model(served.version())
    server.start()
    print(json.dumps({"grpc": grpc_port, "rest": rest.server_port}), flush=True)
    rest.serve_forever()


assert SignatureDef  # registers the message that json_format writes
if __name__ == "__main__":
    main()
