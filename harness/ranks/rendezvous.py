"""How the others come to what rank 0 serves beside the message layer: the address and a key go through the Comm."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Protocol, TypeVar

from harness.errors import CommError
from harness.ranks.comm import Comm
from harness.ranks.interfaces import LOOPBACK, addresses

__all__ = ["served_by_rank_0"]


class Served(Protocol):
    """One end: what rank 0 serves, or what another rank calls it with."""

    def close(self) -> None:
        """Give it up."""


T = TypeVar("T", bound=Served)


def served_by_rank_0(
    comm: Comm, serve: Callable[[bytes, list[str]], tuple[T, int]], call: Callable[[bytes, list[tuple[str, int]]], T]
) -> tuple[T | None, str]:
    """Have rank 0 serve something, and the others call it. A collective.

    Args:
      serve: on rank 0, of a key and the addresses to listen at; returns its end and the port. Raises OSError where it cannot.
      call: on the others, of the key and the places where rank 0 listens, the likeliest first. Raises CommError.
    Returns: this rank's end, and why there is none: all ranks have one, or none has.
    """
    end: T | None = None
    key, problem, offer = secrets.token_bytes(32), "", {}
    hosts = [raw.decode() for raw in comm.gather(comm.host.encode())]
    if comm.rank == 0:
        try:
            here = addresses(hosts)
            end, port = serve(key, here)
            offer = {"port": port, "addresses": here, "key": key.hex()}
        except OSError as exc:
            problem = f"rank 0 cannot listen: {exc.strerror or exc}"
    place = json.loads(comm.broadcast(json.dumps(offer).encode()))
    if place and comm.rank:
        near = hosts[0] == comm.host
        likeliest = sorted(place["addresses"], key=lambda address: (address == LOOPBACK) != near)
        try:
            end = call(bytes.fromhex(place["key"]), [(address, place["port"]) for address in likeliest])
        except CommError as exc:
            problem = f"rank {comm.rank} on {comm.host}: {exc}"
    problems = [raw.decode() for raw in comm.gather(problem.encode()) if raw]
    if not problems:
        return end, ""
    if end is not None:
        end.close()
    return None, problems[0]
