"""A model behind an endpoint: find out what answers there, what it is known by, and make it a `Model`.

What is passed on of it between ranks, and to a run that is resumed, is its identity, `endpoint:NAME@VERSION`. URLs and
credentials stay in the job and the environment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf

from harness.errors import ModelError, nearest
from harness.job.specs import ModelSpec
from harness.models.endpoint_client import EndpointClient, Policy
from harness.models.http_pool import HttpPool
from harness.models.inference_grpc import InferenceGrpc
from harness.models.inference_rest import InferenceRest
from harness.models.model import Model
from harness.models.reply_check import Expected
from harness.models.retries import backoff_s
from harness.models.served import CallFailed, ServedSignature, Transport
from harness.models.served_model import ServedModel, Service
from harness.models.serving_grpc import ServingGrpc
from harness.models.serving_rest import ServingRest

__all__ = ["ANY", "digest_of", "from_endpoint", "identify"]

ANY = "any"
PREFIX = "endpoint:"
MEET_S = 10.0  # that a server which does not answer is asked again before any work
ABSENT = ("UNIMPLEMENTED", "404")  # what a server says that does not speak a protocol


def identify(spec: ModelSpec) -> str:
    """Ask what answers, and return its identity.

    Raises: ModelError: nothing answers, or not as the job says.
    """
    transports, signature = _meet(spec)
    _close(transports)
    return f"{PREFIX}{spec.name}@{ANY if spec.version == ANY else signature.version}"


def digest_of(spec: ModelSpec, identity: str) -> str:
    """Return the SHA-256 that the model is known by: its name, the version that answers, the signature's metadata.

    Raises: ModelError: nothing answers, or another version than the identity names.
    """
    transports, signature = _meet(spec)
    _close(transports)
    return signature.digest(spec.name or "", _agreed(spec, identity, signature))


def from_endpoint(spec: ModelSpec, identity: str) -> Model:
    """Return the model; its connections are kept.

    Raises: ModelError: nothing answers, another version than the identity names, or `echo` names no such tensors.
    """
    transports, signature = _meet(spec)
    version = _agreed(spec, identity, signature)
    echo = _echo(spec, signature)
    outputs = {name: feature for name, feature in signature.outputs.items() if echo is None or name != echo[1]}
    inputs = {name: feature for name, feature in signature.inputs.items() if echo is None or name != echo[0]}
    for name, feature in outputs.items():
        if None in feature.shape:
            raise ModelError(
                f"{identity}: output '{name}' is {feature}: the server does not say how large it is; export the model with "
                "the sizes of its outputs, the number of examples apart"
            )
    policy = Policy(spec.concurrency, spec.deadline, spec.give_up, spec.max_rate)
    client = EndpointClient(transports, Expected(signature.outputs, None if version == ANY else version, echo), policy)
    protocol = f"{transports[0].protocol} over {'gRPC' if spec.endpoints[0].startswith('grpc') else 'REST'}"
    passed = None if echo is None else (echo[0], signature.inputs[echo[0]].shape)
    service = Service(protocol, version, signature.rows, passed, len(transports))
    served = ServedModel(client, inputs, outputs, service)
    specs = [
        {name: tf.TensorSpec([signature.rows, *feature.shape], feature.dtype) for name, feature in side.items()}
        for side in (inputs, outputs)
    ]
    return Model(identity, specs[0], specs[1], _in_graph(served), "endpoint", served={"": served})


def _in_graph(served: ServedModel) -> Any:
    """Return a function that asks from within a graph: for single batches, as the canary; the loop has a way of its own."""
    names = list(served.inputs)
    outputs = list(served.outputs.items())

    def ask(*arrays: np.ndarray) -> list[np.ndarray]:
        answers = served.ask(dict(zip(names, arrays, strict=True)))
        return [np.ascontiguousarray(answers[name]) for name, _ in outputs]

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        dtypes = [tf.as_dtype(feature.dtype) for _, feature in outputs]
        results = tf.numpy_function(ask, [tensors[name] for name in names], dtypes)
        rows = tensors[names[0]].shape[0]
        return {
            name: tf.ensure_shape(tensor, [rows, *feature.shape])
            for (name, feature), tensor in zip(outputs, results, strict=True)
        }

    return predict


def _echo(spec: ModelSpec, signature: ServedSignature) -> tuple[str, str] | None:
    """Return the input and output that hold the id.

    Raises: ModelError: the model has no such ones.
    """
    if spec.echo is None:
        return None
    source, _, target = spec.echo.partition(":")
    for kind, name, tensors in (("input", source, signature.inputs), ("output", target or source, signature.outputs)):
        if name not in tensors:
            raise ModelError(f"echo: {spec.echo}: the model has no {kind} '{name}': {nearest(name, tensors)}")
        if tensors[name].dtype != "int64" or tensors[name].shape not in ((), (1,)):
            raise ModelError(
                f"echo: {spec.echo}: expected {kind} '{name}' to be int64, one number an example, found {tensors[name]}"
            )
    return source, target or source


def _agreed(spec: ModelSpec, identity: str, signature: ServedSignature) -> str:
    """Return the version that has to answer, or "any".

    Raises: ModelError: the run began with another one.
    """
    version = identity.rpartition("@")[2]
    if version != signature.version and version != ANY:
        raise ModelError(
            f"{identity}: version {signature.version} answers now; a run goes on with the version that it began with: bring it "
            "back, or evaluate the other in another folder with -o"
        )
    if spec.version == ANY:
        return ANY
    return version


def _meet(spec: ModelSpec) -> tuple[list[Transport], ServedSignature]:
    """Connect to all addresses, and see that they serve the same.

    Raises: ModelError: see above.
    """
    transports: list[Transport] = []
    signatures: list[ServedSignature] = []
    for url in spec.endpoints:
        transport, signature = _reach(spec, url)
        transports.append(transport)
        signatures.append(signature)
    first = signatures[0]
    for url, other in zip(spec.endpoints, signatures, strict=True):
        if (other.inputs, other.outputs) != (first.inputs, first.outputs):
            raise ModelError(f"endpoint {url}: serves other inputs or outputs than {spec.endpoints[0]}; they have to be the same")
        if other.version != first.version and spec.version != ANY:
            raise ModelError(
                f"endpoint {url}: serves version {other.version}, and {spec.endpoints[0]} version {first.version}: name a "
                "version that all have, or say version: any"
            )
    return transports, first


def _reach(spec: ModelSpec, url: str) -> tuple[Transport, ServedSignature]:
    """Connect to an address; where the job names no protocol, try which one it speaks.

    Raises: ModelError: it speaks none, or has no such model.
    """
    problems = []
    for protocol in (spec.protocol,) if spec.protocol else ("serving", "inference"):
        transport = _transport(spec, url, protocol)
        try:
            return transport, _asked(transport, min(spec.give_up, MEET_S))
        except CallFailed as failure:
            transport.close()
            text = transport.hide(str(failure))
            if failure.kind == "TLS":
                raise ModelError(f"endpoint {url}: {text}") from failure
            problems.append(f"{protocol}: {text}")
            if failure.kind not in ABSENT:
                break
        except ModelError as exc:
            transport.close()
            raise ModelError(transport.hide(str(exc))) from exc
    raise ModelError(
        f"endpoint {url}: expected model '{spec.name}'{_wanted(spec)}, and the server says: {'; '.join(problems)}; is it the "
        "address of the right port (gRPC and REST have one each), and the name that the server has?"
    )


def _asked(transport: Transport, patience_s: float) -> ServedSignature:
    """Ask for the signature, and again for a while where that may help: many ranks ask at the same time.

    Raises: CallFailed: there is none. ModelError: see `Transport`.
    """
    tries, begun = 0, time.monotonic()
    while True:
        tries += 1
        try:
            return transport.signature()
        except CallFailed as failure:
            wait_s = max(backoff_s(tries, transport.protocol), failure.after_s)
            if not failure.again or time.monotonic() - begun + wait_s > patience_s:
                raise
            time.sleep(wait_s)


def _wanted(spec: ModelSpec) -> str:
    return f" in version {spec.version}" if spec.version is not None else ""


def _transport(spec: ModelSpec, url: str, protocol: str) -> Transport:
    name, version = spec.name or "", spec.version
    asked = None if version == ANY else version
    if urlsplit(url).scheme in ("grpc", "grpcs"):
        return ServingGrpc(url, name, asked, spec.signature) if protocol == "serving" else InferenceGrpc(url, name, asked)
    pool = HttpPool(url, spec.concurrency)
    if protocol == "serving":
        return ServingRest(pool, name, version, spec.signature, rows=spec.rows)
    return InferenceRest(pool, name, asked)


def _close(transports: Sequence[Transport]) -> None:
    for transport in transports:
        transport.close()
