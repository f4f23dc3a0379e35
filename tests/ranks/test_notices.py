"""Notices: real datagrams on this machine, between threads that are ranks."""

from __future__ import annotations

import hmac
import socket
import threading
import time

import pytest

from harness.errors import CommError
from harness.ranks import notices as notices_module
from harness.ranks.comm import Comm, SingleComm
from harness.ranks.notices import HEADER, NoNotices, UdpCaller, UdpServer, call, shared_notices
from tests.thread_comm import on_ranks

KEY = b"k" * 32


@pytest.fixture
def server():
    opened = UdpServer(KEY, 3)
    yield opened
    opened.close()


@pytest.fixture
def caller(server):
    opened = call(KEY, 1, [("127.0.0.1", server.port)])
    yield opened
    opened.close()


def until(true) -> None:
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < 30
        time.sleep(0.002)


def told(notices) -> dict[int, bytes]:
    return {rank: heard.notice for rank, heard in notices.heard().items()}


def datagram(rank: int, number: int, notice: bytes, key: bytes = KEY) -> bytes:
    content = HEADER.pack(rank, number) + notice
    return hmac.digest(key, content, "sha256") + content


def test_rank_0_hears_all_and_all_hear_rank_0():
    def work(comm: Comm) -> dict[int, bytes]:
        notices, problem = shared_notices(comm)
        assert not problem
        notices.publish(f"first of {comm.rank}".encode())
        comm.barrier()
        until(lambda: (notices.publish(f"rank {comm.rank}".encode()), len(told(notices)) == (3 if comm.rank == 0 else 1))[1])
        until(lambda: (notices.publish(f"rank {comm.rank}".encode()), all(b"rank" in text for text in told(notices).values()))[1])
        comm.barrier()
        result = told(notices)
        comm.barrier()
        notices.close()
        return result

    first, *others = on_ranks(4, work)
    assert first == {rank: f"rank {rank}".encode() for rank in (1, 2, 3)}
    assert others == [{0: b"rank 0"}] * 3


def test_what_rank_0_tells_at_once_comes_without_being_asked_for(server, caller):
    server.publish(b"stop", at_once=True)
    until(lambda: told(caller) == {0: b"stop"})


def test_a_rank_alone_tells_nobody():
    notices, problem = shared_notices(SingleComm())
    assert isinstance(notices, NoNotices) and not problem
    notices.publish(b"x")
    assert notices.heard() == {}


def test_what_is_forged_old_or_from_nobody_is_not_believed(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", server.port))
        sender.settimeout(30)
        for wrong in (
            b"", b"short", datagram(1, 9, b"forged", b"x" * 32), datagram(0, 9, b"from rank 0"), datagram(3, 9, b"there is no rank 3"),
            datagram(1, 9, b"cut")[:-1],
        ):  # fmt: skip
            sender.send(wrong)
        sender.send(datagram(2, 5, b"right"))
        assert sender.recv(4096)  # the one that is right is answered, and came after the others
        for old in (datagram(2, 5, b"again"), datagram(2, 4, b"late")):
            sender.send(old)
        sender.send(datagram(1, 1, b"another"))
        assert sender.recv(4096)
        assert told(server) == {2: b"right", 1: b"another"}


def test_what_gets_lost_is_made_good_by_the_next(server, caller, monkeypatch):
    dropped = threading.Event()
    take = UdpServer._take

    def lossy(self, receiver) -> None:
        if dropped.is_set():
            take(self, receiver)
        else:
            receiver.recvfrom(65535)
            dropped.set()

    monkeypatch.setattr(UdpServer, "_take", lossy)
    caller.publish(b"lost")
    assert dropped.wait(30)
    assert told(server) == {}
    caller.publish(b"next")
    until(lambda: told(server) == {1: b"next"})


def test_where_datagrams_do_not_get_through_all_ranks_do_without(monkeypatch):
    """One of three ranks gets no answer: none has notices, and all know why."""
    monkeypatch.setattr(notices_module, "WAITS_S", (0.01,))
    answered = UdpCaller.is_answered
    monkeypatch.setattr(UdpCaller, "is_answered", lambda self: self._rank != 2 and answered(self))

    def work(comm: Comm):
        notices, problem = shared_notices(comm)
        return type(notices), problem

    for kind, problem in on_ranks(3, work):
        assert kind is NoNotices
        assert problem.startswith("rank 2 on ") and "rank 0 does not answer datagrams (UDP) at 127.0.0.1:" in problem


def test_nobody_there(monkeypatch):
    monkeypatch.setattr(notices_module, "WAITS_S", (0.01,))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(CommError, match="does not answer datagrams"):
            call(KEY, 1, [silent.getsockname()])
