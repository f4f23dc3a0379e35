"""SplitMix64 against a second writing of it, in Python's integers, and the graph against NumPy."""

import numpy as np
import pytest

from harness.exact import splitmix

WORD = 2**64 - 1
IDS = [0, 1, 2, 1000, 2**40, 2**62, 2**63 - 1, -1, -(2**63)]


def generate(state: int, count: int) -> list[int]:
    """S. Vigna's splitmix64.c."""
    outputs = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & WORD
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        outputs.append(z ^ (z >> 31))
    return outputs


def test_outputs_are_those_of_a_second_writing():
    states = [0, 1, 1234567, WORD]
    assert splitmix.outputs(np.array(states, np.uint64), 5).tolist() == [generate(state, 5) for state in states]


def test_the_hash_of_an_id_is_the_output_of_that_number():
    assert splitmix.hash_ids(np.arange(50)).tolist() == generate(0, 50)
    assert splitmix.hash_ids(np.array(IDS)).tolist() == [generate(i * 0x9E3779B97F4A7C15 & WORD, 1)[0] for i in IDS]


@pytest.mark.parametrize("compiled", [False, True])
def test_the_graph_gives_the_same_bits(compiled):
    import tensorflow as tf

    from harness.exact import tf_splitmix

    ids = np.concatenate([IDS, np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 5000)])
    hash_ids = tf.function(tf_splitmix.hash_ids, autograph=False) if compiled else tf_splitmix.hash_ids
    assert (hash_ids(tf.constant(ids)).numpy().view(np.uint64) == splitmix.hash_ids(ids)).all()
    states = ids.view(np.uint64)
    assert (tf_splitmix.outputs(tf.constant(states), 3).numpy() == splitmix.outputs(states, 3)).all()
