"""Several addresses that serve one model: requests are spread over them, a slow one gets fewer, one that is dead is named."""

from __future__ import annotations

import itertools
import json
import re
import socket
import threading
import time

import grpc
import pytest

from harness.errors import EndpointError, InvalidRun, ModelError
from harness.job.specs import ModelSpec
from harness.models.addresses import Addresses
from harness.models.endpoint import identify
from tests.faulty_endpoint import HttpFaults
from tests.inference_server import InferenceServer
from tests.models.test_endpoints import CHUNK, METADATA, evaluated, inference, numbers
from tests.models.test_inference_grpc import INPUTS, OUTPUTS, scored

pytestmark = pytest.mark.slow

ALL = "models.test"  # a name for several addresses
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module")
def expected(world):
    return numbers(evaluated(world, str(world.folder / "classifier")))


@pytest.fixture
def name(monkeypatch):
    """Have a name stand for three addresses."""
    known = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        hosts = HOSTS if host == ALL else (host,)
        return [entry for each in hosts for entry in known(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return ALL


def account(folder):
    (rank,) = json.loads((folder / "run.json").read_text())["attempts"][-1]["ranks"]
    return rank["endpoints"][""]


def rest_servers(count, faults=None, port=0, metadata=(METADATA, METADATA)):
    """Start servers at one port of several addresses."""
    servers = []
    for number, host in enumerate(HOSTS[:count]):
        fault = inference(lambda reply, number: None) if faults is None else faults[number]
        servers.append(HttpFaults(0, fault, metadata[number], (host, port)))
        port = servers[0].port
    return servers


def test_a_name_of_several_addresses_is_spread_over_and_a_dead_one_is_named(world, expected, name, tmp_path):
    servers = rest_servers(2)
    model = {"endpoint": f"http://{name}:{servers[0].port}", "name": "m", "protocol": "inference"}
    try:
        results = evaluated(world, model, output=tmp_path / "run")
    finally:
        for server in servers:
            server.close()
    assert numbers(results) == expected
    assert [server.asked for server in servers] == [place["tries"] for place in account(tmp_path / "run")["addresses"]]
    assert all(server.asked >= 3 for server in servers) and account(tmp_path / "run")["failures"] == {}
    (note,) = (text for text in results.warnings if "127.0.0.3" in text)
    assert f"http://{name}:{servers[0].port} (127.0.0.3): CONNECTION: " in note and "it is left out" in note


def described(**keys):
    """Return metadata of a server that says something else of the model."""
    return {**METADATA, "/v2/models/m": {**METADATA["/v2/models/m"], **keys}}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (described(versions=["2"]), r"endpoint URL \(127.0.0.2\): serves version 2, and URL \(127.0.0.1\) version 1"),
        (described(outputs=[]), r"endpoint URL \(127.0.0.2\): the server says nothing of the model's outputs"),
        (
            described(inputs=[{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]),
            r"endpoint URL \(127.0.0.2\): serves other inputs or outputs than URL \(127.0.0.1\)",
        ),
        ({"/v2": {}}, r"endpoint URL \(127.0.0.2\): expected model 'm'.*404"),
    ],
)
def test_addresses_of_one_name_that_do_not_agree_are_told_apart(name, metadata, message):
    servers = rest_servers(2, metadata=(METADATA, metadata))
    url = f"http://{name}:{servers[0].port}"
    try:
        with pytest.raises(ModelError, match=message.replace("URL", re.escape(url))):
            identify(ModelSpec(endpoint=url, name="m", protocol="inference"))
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        ((400, {}, b"not this one"), EndpointError, r"the endpoint refused: models.test:\d+ \(127.0.0.2\): 400: not this one"),
        ((200, {}, b'{"model_name": "m", "model_version": "7", "outputs": []}'), InvalidRun,
         r"version 7 answered.*; it came from models.test:\d+ \(127.0.0.2\)$"),
    ],
)  # fmt: skip
def test_the_one_of_several_addresses_that_is_wrong_in_mid_run_is_named(world, name, reply, error, message):
    good = inference(lambda reply, number: None)
    servers = rest_servers(2, [good, lambda number, forward, handler: reply if number >= 2 else good(number, forward, handler)])
    try:
        with pytest.raises(error, match=message):
            evaluated(world, {"endpoint": f"http://{name}:{servers[0].port}", "name": "m", "protocol": "inference"})
    finally:
        for server in servers:
            server.close()


def test_a_name_is_asked_until_one_of_its_addresses_answers(world, expected, name, tmp_path):
    (silent,) = rest_servers(1)
    silent.close()  # and 127.0.0.1, the first of them, stays so
    servers = []
    later = threading.Timer(
        1.2,
        lambda: servers.append(HttpFaults(0, inference(lambda reply, number: None), METADATA, (HOSTS[1], silent.port))),
    )
    later.start()
    try:
        results = evaluated(
            world, {"endpoint": f"http://{name}:{silent.port}", "name": "m", "protocol": "inference"}, output=tmp_path / "run"
        )
    finally:
        later.join()
        servers[0].close()
    assert numbers(results) == expected and servers[0].asked >= 3
    assert account(tmp_path / "run")["addresses"] == [{"tries": servers[0].asked, "failures": 0}]
    for host in (HOSTS[0], HOSTS[2]):
        assert any(f"({host}): CONNECTION: " in text and "it is left out" in text for text in results.warnings)


def test_a_name_whose_addresses_are_all_dead_ends_before_any_work(world, name):
    (server,) = rest_servers(1)
    server.close()
    model = {"endpoint": f"http://{name}:{server.port}", "name": "m", "give_up": 1, "deadline": 1}
    with pytest.raises(ModelError, match=rf"endpoint http://{name}:{server.port}: .*none of 3 addresses answers: ") as failure:
        evaluated(world, model)
    assert failure.value.exit_code == 2
    assert all(f"{host}: CONNECTION: " in str(failure.value) for host in HOSTS)


def test_an_address_that_dies_in_mid_run_is_gone_around_and_named(world, expected, tmp_path):
    def dying(number, forward, handler):
        if number >= 4:
            handler.close_connection = True
            return handler.connection.close()
        return inference(lambda reply, number: None)(number, forward, handler)

    servers = rest_servers(2, [dying, inference(lambda reply, number: None)])
    urls = [f"http://{host}:{servers[0].port}" for host in HOSTS[:2]]
    model = {"endpoint": urls, "name": "m", "protocol": "inference", "concurrency": 2}
    try:
        results = evaluated(world, model, output=tmp_path / "run", batch_size=4, chunk_size=CHUNK)
        local = evaluated(world, str(world.folder / "classifier"), batch_size=4, chunk_size=CHUNK)
    finally:
        for server in servers:
            server.close()
    assert numbers(results) == numbers(local)
    dead, alive = account(tmp_path / "run")["addresses"]
    # It rests for longer each time, so it is asked a few times, not by each request.
    assert alive["failures"] == 0 and dead["tries"] - dead["failures"] == 4 and 0 < dead["failures"] < alive["tries"] / 2
    if dead["failures"] >= 3:
        assert any(text.startswith(f"endpoint: {HOSTS[0]}:{servers[0].port} gave no reply the last") for text in results.warnings)


def test_one_dead_address_of_a_list_ends_the_run_before_any_work(world):
    (server, dead) = rest_servers(2)
    dead.close()
    urls = [f"http://{host}:{server.port}" for host in HOSTS[:2]]
    try:
        with pytest.raises(ModelError, match=rf"endpoint {urls[1]}: .*CONNECTION"):
            evaluated(world, {"endpoint": urls, "name": "m", "protocol": "inference", "give_up": 1, "deadline": 1})
    finally:
        server.close()


def test_a_slow_address_gets_fewer_requests(world, expected, tmp_path):
    fast = inference(lambda reply, number: None)

    def slow(number, forward, handler):
        time.sleep(0.5)
        return fast(number, forward, handler)

    servers = rest_servers(2, [slow, fast])
    urls = [f"http://{host}:{servers[0].port}" for host in HOSTS[:2]]
    model = {"endpoint": urls, "name": "m", "protocol": "inference", "concurrency": 4}
    try:
        evaluated(world, model, output=tmp_path / "run", batch_size=4, chunk_size=CHUNK)
    finally:
        for server in servers:
            server.close()
    behind, ahead = (place["tries"] for place in account(tmp_path / "run")["addresses"])
    assert 0 < behind < ahead / 2


def test_over_grpc_a_name_of_several_addresses_is_spread_over_and_a_dead_one_is_gone_around(world, expected, monkeypatch):
    first = InferenceServer(scored, INPUTS, OUTPUTS)
    second = InferenceServer(scored, INPUTS, OUTPUTS, at=f"{HOSTS[1]}:{first.port}")
    open_channel = grpc.insecure_channel
    hosts = ",".join(f"{host}:{first.port}" for host in HOSTS)  # what gRPC makes of the name, the third is dead
    monkeypatch.setattr(
        grpc,
        "insecure_channel",
        lambda target, *rest: open_channel(target.replace(f"dns:///{ALL}:{first.port}", f"ipv4:{hosts}"), *rest),
    )
    try:
        results = evaluated(world, {"endpoint": f"grpc://{ALL}:{first.port}", "name": "m", "echo": "id"})
    finally:
        first.close()
        second.close()
    assert numbers(results) == expected and first.asked >= 3 and second.asked >= 3


def test_an_address_that_fails_rests_for_longer_each_time_and_is_asked_again():
    now = [0.0]
    addresses = Addresses(["a", "b"], lambda: now[0])
    asked = []
    for step in range(400):
        now[0] = step / 10
        place = addresses.choose()
        addresses.leave(place, "CONNECTION: refused" if place == 0 else None)
        asked += [now[0]] if place == 0 else []
    gaps = [round(later - earlier, 1) for earlier, later in itertools.pairwise(asked)]
    assert gaps[:5] == [0.5, 1.0, 2.0, 4.0, 8.0] and max(gaps) == 10.0
    (note,) = addresses.notes()
    assert note.startswith(
        f"a gave no reply the last {len(asked)} of {len(asked)} times, and the others were asked instead: CONN"
    )
    now[0] = asked[-1] + 11
    while addresses.choose() != 0:
        pass
    addresses.leave(0)
    assert not list(addresses.notes())


def test_when_all_rest_the_one_that_has_rested_longest_is_asked():
    addresses = Addresses(["a", "b"], lambda: 1.0)
    for _ in range(3):
        addresses.leave(addresses.choose(), "x")
    assert addresses.choose() == 1
