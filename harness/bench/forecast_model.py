"""What a job would take at sizes that were not run: a sum of terms, each with a reason and a law of growth. Pure.

| term | grows with |
| --- | --- |
| start-up | nothing; ranks that share cores wait for each other |
| compiling | the same |
| examples | the largest share: ceil(chunks / ranks) chunks; the cores that ranks share; what the storage gives |
| final sum | log2 of the ranks, the bytes of the sums, and the rows that a rank holds |
| writing | nothing; one rank does it |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.bench.collective import Network, allreduce_s, exchange_s
from harness.bench.pilot_costs import Costs

__all__ = ["Machine", "Size", "Terms", "Work", "doublings", "largest_share", "predict"]


@dataclass(frozen=True)
class Machine:
    """A node: that of the pilot; others are taken to be like it.

    Attributes:
      cores: that ranks may use.
      memory_bytes: that they may use.
      reading_bytes_s: that its storage gave to a plain read of the files; None where that is not known.
      connect_s, connect_busy: what it takes to load Horovod, which one rank does without, and processors at work in it.
      connect_bytes: memory that it takes.
      gpus_per_rank: that the pilot's rank had.
    """

    cores: int
    memory_bytes: int
    reading_bytes_s: float | None = None
    connect_s: float = 0.0
    connect_busy: float = 1.0
    connect_bytes: int = 0
    gpus_per_rank: int = 0


@dataclass(frozen=True)
class Work:
    """What is to be done, whatever the ranks.

    Attributes:
      examples, chunks, chunk_size: of the plan.
      sum_bytes: of what all ranks add up.
      size_bytes: of the data; None where that is not known.
    """

    examples: int
    chunks: int
    chunk_size: int
    sum_bytes: int = 0
    size_bytes: int | None = None


@dataclass(frozen=True)
class Size:
    """A number of ranks, and how many of them share a node.

    >>> Size(10, 4).nodes, Size(2, 4).on_node
    (3, 2)
    """

    ranks: int
    nodes_of: int

    @property
    def nodes(self) -> int:
        """How many nodes it takes."""
        return -(-self.ranks // self.nodes_of)

    @property
    def on_node(self) -> int:
        """Ranks on the fullest node."""
        return min(self.ranks, self.nodes_of)

    def threads(self, cores: int) -> int:
        """Return the threads of a rank, as `harness launch` gives them.

        >>> Size(4, 2).threads(8), Size(4, 4).threads(2)
        (4, 1)
        """
        return max(1, cores // self.on_node)


@dataclass(frozen=True)
class Terms:
    """What the time goes into, in seconds.

    Attributes:
      parts: by name.
      crowding: how many times longer the examples of a rank take than if its node were its own.
      storage_bound: whether the storage of the node holds its ranks up.
      cpu_s: processor seconds of all ranks together, that ranks spend on waiting left out.
    """

    parts: Mapping[str, float]
    crowding: float = 1.0
    storage_bound: bool = False
    cpu_s: float = 0.0

    @property
    def total_s(self) -> float:
        """The sum of all."""
        return sum(self.parts.values())


def largest_share(work: Work, ranks: int) -> int:
    """Return the examples of the rank that has most: whole chunks.

    >>> largest_share(Work(1000, 10, 100), 4), largest_share(Work(1000, 10, 100), 64)
    (300, 100)
    """
    return min(work.examples, -(-work.chunks // ranks) * work.chunk_size)


def predict(costs: Costs, size: Size, work: Work, machine: Machine, network: Network) -> Terms:
    """Predict what a size takes, from the start of the ranks to the last file.

    Args:
      costs: of one rank with the threads that ranks of this size have.
      network: between the ranks.

    >>> costs = Costs(3.0, 1.0, 0.001, 0.0, 0.0, 0.5, 1.0, 1.0, 1 << 29)
    >>> alone = predict(costs, Size(1, 4), Work(10_000, 100, 100), Machine(2, 1 << 33), Network(0, 0))
    >>> crowded = predict(costs, Size(4, 4), Work(10_000, 100, 100), Machine(2, 1 << 33), Network(0, 0))
    >>> round(alone.total_s, 6), round(crowded.parts["examples"], 6), crowded.crowding
    (14.5, 5.0, 2.0)
    """
    fixed = _crowding(costs.fixed_busy, size, machine)
    crowding = _crowding(costs.busy, size, machine)
    connect = machine.connect_s * _crowding(machine.connect_busy, size, machine) if size.ranks > 1 else 0.0
    share = largest_share(work, size.ranks)
    examples_s = share * costs.example_s * crowding
    reading_s = 0.0
    if machine.reading_bytes_s and work.size_bytes:
        on_node = min(work.examples, share * size.on_node)
        reading_s = on_node * (work.size_bytes / work.examples) / machine.reading_bytes_s
    rank_rows = work.examples / size.ranks * costs.row_bytes
    sums_s = allreduce_s(size.ranks, work.sum_bytes, network.step_s, network.byte_s) + exchange_s(size.ranks, rank_rows, network)
    parts = {
        "start-up": costs.start_s * fixed + connect,
        "compiling": costs.compile_s * fixed,
        "examples": max(examples_s, reading_s),
        "final sum": costs.reduce_s + share * costs.row_s * crowding + sums_s,
        "writing": costs.write_s,
    }
    each_cpu_s = costs.fixed_busy * (costs.start_s + costs.compile_s + costs.reduce_s)
    each_cpu_s += machine.connect_s * machine.connect_busy if size.ranks > 1 else 0.0
    all_cpu_s = costs.fixed_busy * costs.write_s + costs.busy * (costs.example_s + costs.row_s) * work.examples
    return Terms(parts, crowding, reading_s > examples_s, size.ranks * each_cpu_s + all_cpu_s)


def _crowding(busy: float, size: Size, machine: Machine) -> float:
    """Return how many times longer ranks take that together have more to do than the cores of their node can."""
    return max(1.0, size.on_node * busy / machine.cores)


def doublings(most: int) -> list[int]:
    """Return 1, 2, 4, ... up to `most`.

    >>> doublings(10)
    [1, 2, 4, 8]
    """
    return [1 << power for power in range(int(math.log2(most)) + 1)]
