"""What a model does besides predicting: random numbers of its own, and variables that it changes. Reads graphs, runs none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from harness.data import Feature

__all__ = ["Effects", "effects"]

# Stateful operations that draw; those named Stateless* take their seed as an input and are the model's own function.
DRAWS = ("Random", "TruncatedNormal", "ParameterizedTruncatedNormal", "Multinomial", "Stateful", "Rng", "AnonymousRandomSeed")
NO_DRAW = ("StatefulPartitionedCall",)
WRITES = ("Assign", "ResourceScatter", "ResourceApply", "Scatter")


@dataclass(frozen=True)
class Effects:
    """Types of operations found: stateful random ones, those of them that have no seed, and writes to variables."""

    random: tuple[str, ...]
    unseeded: tuple[str, ...]
    writes: tuple[str, ...]


def effects(predict: Callable[[Mapping[str, Any]], Mapping[str, Any]], wanted: Mapping[str, Feature], batch_size: int) -> Effects:
    """Trace a prediction and look through its graph, and the functions that it reaches.

    Args:
      predict: features by name [B, ...] to outputs.
      wanted: the features, with dtype and shape.
      batch_size: B.
    """
    specs = {name: tf.TensorSpec([batch_size, *feature.shape], feature.dtype) for name, feature in wanted.items()}
    graph = tf.function(predict, autograph=False).get_concrete_function(specs).graph.as_graph_def()
    draws, unseeded, writes = set(), set(), set()
    for node in _nodes(graph):
        if node.op.startswith(DRAWS) and node.op not in NO_DRAW and _is_stateful(node.op):
            draws.add(node.op)
            if {"seed", "seed2"} <= set(node.attr) and not node.attr["seed"].i and not node.attr["seed2"].i:
                unseeded.add(node.op)
        if node.op.startswith(WRITES) and _is_stateful(node.op):
            writes.add(node.op)
    return Effects(tuple(sorted(draws)), tuple(sorted(unseeded)), tuple(sorted(writes)))


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the operations of a graph and of every function it calls."""
    functions = {function.signature.name: function for function in graph.library.function}
    waiting, seen = [list(graph.node)], set()
    while waiting:
        for node in waiting.pop():
            yield node
            for name in _calls(node):
                if name in functions and name not in seen:
                    seen.add(name)
                    waiting.append(list(functions[name].node_def))


def _calls(node: Any) -> Iterator[str]:
    yield node.op  # a function may be called by its name as the operation's type
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _is_stateful(op: str) -> bool:
    registered = op_def_registry.get(op)
    return bool(registered and registered.is_stateful)
