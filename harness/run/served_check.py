"""What `harness check` says of a model behind an endpoint: what answers, how long a batch takes, what cannot be found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.models.served_model import ServedModel

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["show_served"]


def show_served(built: Built, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Ask each served model a few times, and say what came of it.

    Args:
      built: of the job.
      say, warn: take a line.
    Raises: HarnessError: it does not answer.
    """
    if built.served is None:
        return
    for name, served, tensors in built.served.canaries:
        latencies = served.latency_s(tensors)
        where = f"endpoint {name}" if name else "endpoint"
        rows = len(next(iter(tensors.values())))
        addresses = f", {served.service.addresses} addresses" if served.service.addresses > 1 else ""
        say(f"{where}: {served.service.protocol}{addresses}, {_version(served)}")
        say(
            f"{where}: a batch of {rows:,} examples takes {1e3 * latencies[0]:.1f} to {1e3 * latencies[-1]:.1f} ms alone; "
            f"{served.client.concurrency} are under way at a time on each rank"
        )
        (say if served.service.echo else warn)(f"{where}: {served.order}")
    built.served.look_again()
    for name, served, _ in built.served.canaries:
        if served.deterministic:
            alone = ", and its first half the same on its own" if served.batching else ""
            say(f"{f'endpoint {name}' if name else 'endpoint'}: the same batch got the same bits again{alone}")
    for note in built.served.notes():
        warn(note)


def _version(served: ServedModel) -> str:
    return "any version may answer, and each is a slice" if served.any_version else f"version {served.service.version} answers"
