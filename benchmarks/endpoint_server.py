"""A server of TensorFlow Serving's messages that takes a fixed time and predicts nothing: what is left is the client's time.

Run as a process of its own: `python -m benchmarks.endpoint_server DELAY_S`; it prints its port.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

CLASSES = 10


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers each request after a while, with scores of zero."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def Predict(self, request: Any, context: Any) -> Any:
        """Answer one."""
        time.sleep(self._delay_s)
        reply = predict_pb2.PredictResponse()
        reply.model_spec.version.value = 1
        rows = request.inputs["image"].tensor_shape.dim[0].size
        reply.outputs["scores"].CopyFrom(tf.make_tensor_proto(np.zeros([rows, CLASSES], np.float32)))
        return reply


def main() -> None:
    """Serve until the process is ended."""
    server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(float(sys.argv[1])), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
