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
from harness.models.credentials import credentials_for
from harness.models.endpoint_client import EndpointClient, Policy
from harness.models.http_pool import HttpPool, addresses_of
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
    transports, signature, _ = _meet(spec)
    _close(transports)
    return f"{PREFIX}{spec.name}@{ANY if spec.version == ANY else signature.version}"


def digest_of(spec: ModelSpec, identity: str) -> str:
    """Return the SHA-256 that the model is known by: its name, the version that answers, the signature's metadata.

    Raises: ModelError: nothing answers, or another version than the identity names.
    """
    transports, signature, _ = _meet(spec)
    _close(transports)
    return signature.digest(spec.name or "", _agreed(spec, identity, signature))


def from_endpoint(spec: ModelSpec, identity: str) -> Model:
    """Return the model; its connections are kept.

    Raises: ModelError: nothing answers, another version than the identity names, or `echo` names no such tensors.
    """
    transports, signature, left_out = _meet(spec)
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
    service = Service(protocol, version, signature.rows, passed, len(transports), tuple(left_out))
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


def _meet(spec: ModelSpec) -> tuple[list[Transport], ServedSignature, list[str]]:
    """Connect to all addresses, and see that they serve the same.

    Returns: also why addresses are left out: of a name that stands for several those that do not answer.
    Raises: ModelError: see above.
    """
    transports: list[Transport] = []
    signatures: list[tuple[str, ServedSignature]] = []
    left_out: list[str] = []
    for url in spec.endpoints:
        own, silent = _of_name(spec, url)
        transports += [transport for _, transport, _ in own]
        signatures += [(place, signature) for place, _, signature in own]
        left_out += silent
    reference, first = signatures[0]
    for place, other in signatures:
        if (other.inputs, other.outputs) != (first.inputs, first.outputs):
            raise ModelError(f"endpoint {place}: serves other inputs or outputs than {reference}; they have to be the same")
        if other.version != first.version and spec.version != ANY:
            raise ModelError(
                f"endpoint {place}: serves version {other.version}, and {reference} version {first.version}: name a "
                "version that all have, or say version: any"
            )
    return transports, first, left_out


def _of_name(spec: ModelSpec, url: str) -> tuple[list[tuple[str, Transport, ServedSignature]], list[str]]:
    """Connect to each address that a URL's name stands for; gRPC sees to that itself, and looks the name up again.

    Where none answers all are asked again for a while, and those that answer first are enough.

    Returns: of each the place, for messages; also what those say that do not answer, while others do.
    Raises: ModelError: none of them is of use.
    """
    parts = urlsplit(url)
    credentials_for(parts.netloc, encrypted=parts.scheme in ("grpcs", "https"))  # what is wrong with them is said first
    addresses = [] if parts.scheme in ("grpc", "grpcs") else addresses_of(url)
    if len(addresses) < 2:
        return [(url, *_reach(spec, url))], []
    rounds, end = 0, time.monotonic() + min(spec.give_up, MEET_S)
    silent: dict[str, _Unreachable] = {}
    while True:
        answering = []
        for address in addresses:
            if address in silent and silent[address].rests_until > time.monotonic():
                continue
            try:
                answering.append((_place(url, address), *_reach(spec, url, address)))
                silent.pop(address, None)
            except _Unreachable as exc:
                silent[address] = exc
        if answering:
            return answering, [f"{exc}; it is left out, and the other addresses of the name are asked" for exc in silent.values()]
        rounds += 1
        again = max(time.monotonic() + backoff_s(rounds, url), min(exc.rests_until for exc in silent.values()))
        if again > end:
            failures = "; ".join(f"{address}: {exc.failure}" for address, exc in silent.items())
            raise ModelError(
                f"endpoint {url}: expected model '{spec.name}'{_wanted(spec)}, and none of {len(addresses)} addresses answers: "
                f"{failures}"
            )
        time.sleep(max(again - time.monotonic(), 0.0))


def _place(url: str, address: str | None) -> str:
    """Return what an address is called in messages.

    >>> _place("http://models:80", "10.0.0.7"), _place("http://models:80", None)
    ('http://models:80 (10.0.0.7)', 'http://models:80')
    """
    return url if address is None else f"{url} ({address})"


class _Unreachable(ModelError):
    """An address does not answer.

    Args:
      place: what it is called.
      failure: what it failed of.
      after_s: how long it asks to be left alone.
    """

    def __init__(self, place: str, failure: str, after_s: float) -> None:
        super().__init__(f"endpoint {place}: {failure}")
        self.failure, self.rests_until = failure, time.monotonic() + after_s


def _reach(spec: ModelSpec, url: str, address: str | None = None) -> tuple[Transport, ServedSignature]:
    """Connect to an address; where the job names no protocol, try which one it speaks.

    Args:
      address: one of several that the URL's name stands for: it is not waited for.
    Raises: ModelError: it speaks none, or has no such model. _Unreachable: one of several does not answer.
    """
    problems, place = [], _place(url, address)
    for protocol in (spec.protocol,) if spec.protocol else ("serving", "inference"):
        transport = _transport(spec, url, protocol, address)
        try:
            return transport, _asked(transport, min(spec.give_up, MEET_S) if address is None else 0.0)
        except CallFailed as failure:
            transport.close()
            text = transport.hide(str(failure))
            if address is not None and failure.again:
                raise _Unreachable(place, text, failure.after_s) from failure
            if failure.kind == "TLS":
                raise ModelError(f"endpoint {place}: {text}") from failure
            problems.append(f"{protocol}: {text}")
            if failure.kind not in ABSENT:
                break
        except ModelError as exc:
            transport.close()
            where = f"endpoint {place}: " if address is not None or len(spec.endpoints) > 1 else ""
            raise ModelError(where + transport.hide(str(exc))) from exc
    raise ModelError(
        f"endpoint {place}: expected model '{spec.name}'{_wanted(spec)}, and the server says: {'; '.join(problems)}; is it the "
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


def _transport(spec: ModelSpec, url: str, protocol: str, address: str | None = None) -> Transport:
    name, version = spec.name or "", spec.version
    asked = None if version == ANY else version
    if urlsplit(url).scheme in ("grpc", "grpcs"):
        return ServingGrpc(url, name, asked, spec.signature) if protocol == "serving" else InferenceGrpc(url, name, asked)
    pool = HttpPool(url, spec.concurrency, address)
    if protocol == "serving":
        return ServingRest(pool, name, version, spec.signature, rows=spec.rows)
    return InferenceRest(pool, name, asked)


def _close(transports: Sequence[Transport]) -> None:
    for transport in transports:
        transport.close()
