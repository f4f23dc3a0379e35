"""The counter over TCP: real sockets on this machine."""

import contextlib
import hmac
import os
import re
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from harness.errors import CommError
from harness.ranks import counter_server, interfaces
from harness.ranks.counter import TcpCounter, TcpServer
from harness.ranks.interfaces import addresses

KEY = b"k" * 32


@pytest.fixture
def server():
    made = TcpServer(KEY, 3)
    yield made
    made.close()


def caller(server: TcpServer, rank: int, key: bytes = KEY) -> TcpCounter:
    return TcpCounter([("127.0.0.1", server.port)], key, rank)


def test_every_number_is_handed_out_once(server):
    taken: list[range] = []

    def draw(counter) -> None:
        for count in (1, 3, 2, 7) * 50:
            start = counter.take(count)
            taken.append(range(start, start + count))

    threads = [threading.Thread(target=draw, args=(each,)) for each in (server, caller(server, 1), caller(server, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(number for each in taken for number in each) == list(range(3 * 50 * 13))


def test_who_does_not_know_the_key_gets_nothing(server):
    with pytest.raises(CommError, match="no connection to the counter of rank 0"):
        caller(server, 1, b"x" * 32)
    assert server.take(1) == 0


def test_a_server_that_does_not_know_the_key_is_not_believed():
    """Something else that listens there, and answers whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"n" * 32)
            connection.recv(4096)
            connection.sendall(hmac.digest(b"x" * 32, b"server", "sha256"))
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(CommError, match="what listens there is not rank 0"):
            TcpCounter([("127.0.0.1", listener.getsockname()[1])], KEY, 1)
        thread.join(30)


def test_the_next_address_is_tried(server):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    counter = TcpCounter([("127.0.0.1", nobody), ("127.0.0.1", server.port)], KEY, 1)
    assert counter.take(2) == 0
    counter.close()


def test_a_request_that_is_sent_again_gets_the_same_answer(server):
    counter = caller(server, 1)
    assert [counter.take(4), counter.take(4)] == [0, 4]
    counter._number -= 1  # as if the answer had been lost
    counter.close()
    assert counter.take(4) == 4
    assert counter.take(4) == 8
    counter.close()


def test_a_broken_connection_is_made_anew(server):
    counter = caller(server, 1)
    assert counter.take(1) == 0
    counter._connection.shutdown(socket.SHUT_RDWR)
    assert counter.take(1) == 1
    counter.close()


def test_a_caller_that_sends_rubbish_or_nothing_does_no_harm(server):
    with socket.create_connection(("127.0.0.1", server.port)) as silent, socket.create_connection(silent.getpeername()) as rude:
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 4096)
        counter = caller(server, 1)
        assert counter.take(1) == 0
        counter.close()


def test_when_rank_0_is_gone_that_is_said():
    server = TcpServer(KEY, 2)
    counter = caller(server, 1)
    assert counter.take(5) == 0
    server.close()
    with pytest.raises(CommError, match="rank 0, which hands out the chunks, does not answer"):
        counter.take(5)


def strangers(server: TcpServer, number: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(number)]


def hung_up(connection: socket.socket) -> bool:
    """Say whether the server has hung up, after its greeting."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def until(condition) -> bool:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_who_proves_nothing_is_bounded_in_number(server):
    """And ranks that have proved who they are notice nothing, nor those that come later."""
    early = caller(server, 1)
    assert early.take(1) == 0
    descriptors = len(os.listdir("/proc/self/fd"))
    crowd = strangers(server, 400)
    assert until(lambda: sum(hung_up(each) for each in crowd) >= 400 - server._most_unproved)
    held = len(os.listdir("/proc/self/fd")) - descriptors - 400
    assert held <= server._most_unproved <= 3 + counter_server.UNPROVED
    late = caller(server, 2)
    assert [early.take(1), late.take(1)] == [1, 2]
    for connection in crowd:
        connection.close()


def test_who_proves_nothing_has_little_time(server, monkeypatch):
    monkeypatch.setattr(counter_server, "PROVE_S", 0.3)
    (silent, slow) = strangers(server, 2)
    counter = caller(server, 1)
    for _ in range(4):  # whoever sends byte after byte gets no more time
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            slow.send(b"x")
    assert until(lambda: hung_up(silent) and hung_up(slow))
    assert counter.take(1) == 0  # for who has proved it there is no limit
    assert not server.gone


def test_without_files_for_callers_it_rests_and_goes_on(server):
    """The kernel announces a caller again and again while there is no file for it."""
    early = caller(server, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    full: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    crowd: list[socket.socket] = []
    try:
        crowd = [socket.socket() for _ in range(5)]
        with contextlib.suppress(OSError):
            while True:
                full.append(os.dup(0))
        for connection in crowd:
            connection.connect(("127.0.0.1", server.port))
        begun = time.process_time()
        time.sleep(1)
        assert time.process_time() - begun < 0.5
        assert early.take(3) == 0
    finally:
        for descriptor in full:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caller(server, 2).take(1) == 3
    for connection in crowd:
        connection.close()


def test_a_rank_has_one_connection_and_ranks_are_those_of_the_run(server):
    first, second = caller(server, 1), caller(server, 1)
    assert second.take(2) == 0
    assert until(lambda: hung_up(first._connection))
    assert not server.gone
    with pytest.raises(CommError):
        caller(server, 3)  # of three ranks


def test_it_listens_at_the_loopback_where_all_ranks_are_on_this_machine(monkeypatch):
    assert addresses(["a", "a", "a"]) == ["127.0.0.1"]
    monkeypatch.setenv("HOROVOD_GLOO_IFACE", "lo")
    assert addresses(["a", "b"]) == ["127.0.0.1"]
    monkeypatch.delenv("HOROVOD_GLOO_IFACE")
    # 192.0.2.0/24 belongs to nobody: the route to it says which interface the others are behind.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no route to others")
        outward = probe.getsockname()[0]
    assert addresses(["a", "192.0.2.1"]) == [outward]
    assert addresses(["a", "a", "192.0.2.1"]) == ["127.0.0.1", outward]
    server = TcpServer(KEY, 3, ["127.0.0.1", outward])
    for address in server.addresses:
        assert TcpCounter([(address, server.port)], KEY, 1).take(1) >= 0
    if outward != "127.0.0.1":
        with pytest.raises(CommError):
            TcpCounter([("127.0.0.2", server.port)], KEY, 2)
    server.close()


def test_an_interface_that_is_not_known_is_said(monkeypatch):
    monkeypatch.setattr(interfaces, "_routed", lambda hosts: [])
    with pytest.raises(OSError, match="by which address b.invalid reaches a.invalid; name the network interface"):
        addresses(["a.invalid", "b.invalid"])


def test_nothing_that_comes_from_a_socket_of_ours_is_unpickled():
    """Pickles are read in the modules that have them from the message layer, of ranks of the same job, and nowhere else."""
    readers = set()
    for path in (Path(__file__).parent.parent.parent / "harness").rglob("*.py"):
        text = path.read_text()
        names = {name for name in ("pickle", "cloudpickle", "marshal", "dill", "joblib", "shelve") if f"import {name}" in text}
        if names:
            readers.add(path.name)
            assert names == {"pickle"}
            assert not re.search(r"\b(socket|selectors|socketserver|http)\b", text), path
            for call in re.findall(r"pickle\.loads\((.*)", text):
                assert re.match(r"raw\)|data\)|first\)|(self\._)?comm\.(broadcast|gather)\(", call), (path.name, call)
    assert readers >= {"consensus.py", "exchange.py"} and "counter.py" not in readers and "counter_server.py" not in readers


def test_a_crowd_that_comes_at_once_and_speaks_does_no_harm():
    """Some have sent something, and are hung up on to make room for others, before it is looked at."""
    server = TcpServer(KEY, 3)
    early = caller(server, 1)
    crowd = []
    for _ in range(20):
        server._lock.acquire()  # the server stands still over this request
        threading.Thread(target=early.take, args=(1,)).start()
        for _ in range(100):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", server.port))
            crowd.append(connection)
        for connection in crowd:
            with contextlib.suppress(OSError):
                connection.send(b"x")
        server._lock.release()
        assert early.take(1) >= 0
    assert server._thread.is_alive()
    for connection in crowd:
        connection.close()
    early.close()
    server.close()
