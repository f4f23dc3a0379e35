"""The addresses of this machine at which other ranks reach it, and sockets that listen there and nowhere else."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence

__all__ = ["LOOPBACK", "addresses", "bind", "listen"]

LOOPBACK = "127.0.0.1"
TRIES = 3


def addresses(hosts: list[str]) -> list[str]:
    """Return the addresses of this machine, rank 0's, at which the other ranks reach it: by hosts, by rank.

    Raises: OSError: none is known at which those of other machines do.
    """
    away = sorted({*hosts[1:]} - {hosts[0]})
    near = [LOOPBACK] if hosts[0] in hosts[1:] else []
    if not away:
        return [LOOPBACK]
    reached = _chosen() or _routed(away) or _own(hosts[0])
    if not reached:
        raise OSError(
            f"it does not know by which address {away[0]} reaches {hosts[0]}; name the network interface: "
            "horovodrun --network-interface NAME, or HOROVOD_GLOO_IFACE=NAME"
        )
    return list(dict.fromkeys([*near, *reached]))


def _chosen() -> list[str]:
    """Return the addresses of the interfaces that the launcher has chosen."""
    import psutil

    addresses = []
    interfaces = psutil.net_if_addrs()
    for name in filter(None, os.environ.get("HOROVOD_GLOO_IFACE", "").split(",")):
        addresses += [entry.address for entry in interfaces.get(name, ()) if entry.family == socket.AF_INET][:1]
    return addresses


def _routed(hosts: list[str]) -> list[str]:
    """Return the addresses from which this machine would send to others: there they can answer."""
    sources = []
    for host in hosts[:8]:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # sends nothing
            sources.append(probe.getsockname()[0])
    return sources


def _own(host: str) -> list[str]:
    """Return the addresses that this machine's name stands for; its loopback is everybody's own."""
    with contextlib.suppress(OSError):
        addresses = [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)]
        return [address for address in addresses if not address.startswith("127.")]
    return []


def listen(places: Sequence[str], backlog: int) -> tuple[list[socket.socket], int]:
    """Listen at some addresses of this machine, at one port; return the sockets, and the port.

    Raises: OSError: there is none that is free at all of them.
    """
    return _at_one_port(places, lambda place: socket.create_server(place, backlog=backlog))


def bind(places: Sequence[str]) -> tuple[list[socket.socket], int]:
    """Take datagrams at some addresses of this machine, at one port; return the sockets, and the port.

    Raises: OSError: there is none that is free at all of them.
    """
    return _at_one_port(places, _datagrams)


def _datagrams(place: tuple[str, int]) -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        receiver.bind(place)
    except OSError:
        receiver.close()
        raise
    return receiver


def _at_one_port(places: Sequence[str], open_at: Callable[[tuple[str, int]], socket.socket]) -> tuple[list[socket.socket], int]:
    for attempt in range(1, TRIES + 1):
        sockets: list[socket.socket] = []
        try:
            for address in places:
                port = sockets[0].getsockname()[1] if sockets else 0
                sockets.append(open_at((address, port)))
        except OSError:
            for opened in sockets:
                opened.close()
            if attempt == TRIES:
                raise
            continue
        for opened in sockets:
            opened.setblocking(False)
        return sockets, sockets[0].getsockname()[1]
    raise AssertionError("unreachable")
