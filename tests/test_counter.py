"""The counter over TCP: real sockets on this machine."""

import hmac
import socket
import threading

import pytest

from harness.counter import TcpCounter, TcpServer
from harness.errors import CommError

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
