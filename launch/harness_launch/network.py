"""Which hosts are this machine, and over which of its networks ranks on several hosts can talk.

Names and addresses are looked up here. What needs the other hosts (whether ssh reaches them, which networks all of them
share) is asked of Horovod's own launcher, in a process of its own: it has to be what `horovodrun` would find.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence

from harness.errors import HarnessError

__all__ = ["is_here", "local_addresses", "loopback", "shared_interfaces"]

LOOPBACK = "127.0.0.1"
# Horovod 0.28.1's own checks before it starts mpirun, with its cache of them in ~/.horovod. Arguments: ranks, hosts.
CHECKS = """
import hashlib, json, os, sys
from horovod.runner import launch
from horovod.runner.common.util import hosts, secret, settings, timeout
from horovod.runner.driver import driver_service
from horovod.runner.util import cache, network
ranks, where = sys.argv[1:]
limit = timeout.Timeout(int(os.getenv("HOROVOD_START_TIMEOUT", "30")),
    message="Timed out waiting for {activity}; HOROVOD_START_TIMEOUT=SECONDS allows more than 30")
wanted = settings.Settings(num_proc=int(ranks), hosts=where, key=secret.make_secret_key(), start_timeout=limit)
key = hashlib.md5(f"{ranks} {where} ".encode()).hexdigest()
known = cache.Cache(launch.CACHE_FOLDER, launch.CACHE_STALENESS_THRESHOLD_MINUTES, key)
names, _ = hosts.parse_hosts_and_slots(where)
remote = network.filter_local_addresses(names)
if remote and not launch._check_all_hosts_ssh_successful(remote, None, None, fn_cache=known):
    sys.stdout.flush()
    os._exit(1)
shared = driver_service.get_common_interfaces(wanted, names, remote, known)
print(json.dumps(sorted(shared)), flush=True)
os._exit(0)
"""


def local_addresses() -> dict[str, str]:
    """Return the first IPv4 address of each network interface of this machine that has one, by its name."""
    import psutil

    addresses: dict[str, str] = {}
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family == socket.AF_INET:
                addresses.setdefault(name, entry.address)
    return addresses


def is_here(name: str, addresses: Collection[str]) -> bool:
    """Say whether a host is this machine: its name leads to one of the machine's addresses.

    >>> is_here("127.0.0.1", ["127.0.0.1", "10.0.0.7"]), is_here("10.0.0.8", ["127.0.0.1", "10.0.0.7"])
    (True, False)
    """
    try:
        return socket.gethostbyname(name) in addresses
    except OSError:
        return False


def loopback(addresses: dict[str, str]) -> tuple[str, ...]:
    """Return the interfaces over which processes of this machine talk.

    >>> loopback({"lo": "127.0.0.1", "eth0": "10.0.0.7"})
    ('lo',)
    """
    return tuple(sorted(name for name, address in addresses.items() if address == LOOPBACK))


def shared_interfaces(ranks: int, hosts: str) -> Sequence[str]:
    """See that ssh reaches all hosts, and find the interfaces that they share.

    Args:
      ranks: how many.
      hosts: NAME:RANKS,...
    Raises: HarnessError: a host is not reached, or there is no network that all share.
    """
    done = subprocess.run([sys.executable, "-c", CHECKS, str(ranks), hosts], stdout=subprocess.PIPE, text=True, check=False)
    *lines, last = done.stdout.strip().splitlines() or [""]
    try:
        interfaces = json.loads(last)
    except ValueError:
        lines, interfaces = [*lines, last], None
    print("\n".join(lines), end="\n" * bool(lines), file=sys.stderr, flush=True)
    if done.returncode or not isinstance(interfaces, list):
        raise HarnessError(
            f"-H {hosts}: not all of these hosts can be used, the lines above say why: each has to let ssh in without a "
            f"password, and to have this environment at {os.path.dirname(sys.executable)}"
        )
    return [str(name) for name in interfaces]
