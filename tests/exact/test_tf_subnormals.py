"""Numbers next to zero: comparisons, casts, logarithms and differences as NumPy makes them, which flushes nothing."""

import math

import numpy as np
import pytest

MODES = ["eager", "graph", "xla"]


def run(mode, function, *arrays):
    """Call a function of tensors in TensorFlow's own threads."""
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    if mode == "eager":
        return function(*tensors).numpy()
    return tf.function(function, jit_compile=mode == "xla", autograph=False)(*tensors).numpy()


def numbers(dtype) -> np.ndarray:
    """Of every magnitude and sign: random bits, the smallest ones, zeros, the border of the normal ones."""
    rng = np.random.default_rng(5)
    whole = {4: np.uint32, 8: np.uint64, 2: np.uint16}[np.dtype(dtype).itemsize]
    bits = rng.integers(0, np.iinfo(whole).max, 4000, dtype=whole).view(dtype)
    info = np.finfo(dtype)
    few = np.arange(1, 200, dtype=whole).view(dtype)  # the smallest there are
    edge = [0.0, -0.0, info.tiny, -info.tiny, info.tiny / 2, -info.tiny / 2, info.smallest_subnormal, 1.0, -1.0]
    edge += [np.nextafter(info.tiny, 0, dtype=dtype), np.nextafter(info.tiny, 1, dtype=dtype)]
    spread = rng.random(2000).astype(dtype) * info.tiny * 4 - info.tiny * 2
    found = np.concatenate([bits, few, -few, np.array(edge, dtype), spread.astype(dtype)])
    return found[np.isfinite(found)]


def bits_of(array: np.ndarray) -> np.ndarray:
    return array.view({4: np.int32, 8: np.int64, 2: np.int16}[array.dtype.itemsize])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_widened_is_numpys_cast(mode, dtype):
    from harness.exact import tf_subnormals

    x = numbers(dtype)
    assert np.array_equal(bits_of(run(mode, tf_subnormals.widened, x)), bits_of(x.astype(np.float64)))
    assert np.isnan(run(mode, tf_subnormals.widened, np.array([np.nan], dtype))).all()


def test_tensorflows_own_cast_flushes():
    # What all of this is for: if this fails one day, TensorFlow has changed, and the module can go.
    import tensorflow as tf

    assert run("graph", lambda x: tf.cast(x, tf.float64), np.full(64, 1e-39, np.float32)).max() == 0


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_is_widened_too(mode):
    import tensorflow as tf

    from harness.exact import tf_subnormals

    x = numbers(np.float32)
    exact = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)

    def shortened(bits):
        return tf_subnormals.widened(tf.bitcast(tf.cast(bits, tf.uint16), tf.bfloat16))

    found = run(mode, shortened, (x.view(np.uint32) >> np.uint32(16)).astype(np.int32))
    assert np.array_equal(found, exact.astype(np.float64))


@pytest.mark.parametrize("mode", MODES)
def test_narrowed_is_numpys_cast(mode):
    from harness.exact import tf_subnormals

    x = np.concatenate([numbers(np.float32).astype(np.float64) * k for k in (1, 1 + 2.0**-30, 0.75)])
    with np.errstate(over="ignore"):
        assert np.array_equal(bits_of(run(mode, tf_subnormals.narrowed, x)), bits_of(x.astype(np.float32)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_integers_stand_in_the_order_of_the_numbers(mode, dtype):
    from harness.exact import tf_subnormals

    x = np.unique(numbers(dtype))
    found = run(mode, tf_subnormals.ordered, x)
    assert (np.diff(found) > 0).all()
    assert run(mode, tf_subnormals.ordered, np.array([0.0, -0.0], dtype)).tolist() == [0, 0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_comparisons_are_numpys(mode, dtype):
    from harness.exact import tf_subnormals

    x = numbers(dtype)
    for threshold in (0.0, 0.5, float(np.finfo(dtype).smallest_subnormal) * 7):
        found = run(mode, lambda t, bound=threshold: tf_subnormals.exceeds(t, bound), x)
        assert np.array_equal(found, x > dtype(threshold)), threshold
    other = np.roll(np.repeat(x, 2), 1)
    assert np.array_equal(run(mode, tf_subnormals.same, np.repeat(x, 2), other), np.repeat(x, 2) == other)
    assert not run(mode, tf_subnormals.same, np.array([np.nan], dtype), np.array([np.nan], dtype)).any()


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_searchsorted_is_numpys(mode):
    from harness.exact import tf_subnormals

    x = numbers(np.float64)
    for edges in ([0.0], [-1e-310, 0.0, 1e-310, 2e-310, 1.0], [0.25, 0.5]):
        for side in ("left", "right"):
            found = run(mode, lambda t, edges=edges, side=side: tf_subnormals.searchsorted(edges, t, side), x)
            assert np.array_equal(found, np.searchsorted(edges, x, side=side)), (edges, side)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_highest_score_is_numpys_argmax(mode, dtype, classes):
    from harness.exact import tf_subnormals

    rng = np.random.default_rng(classes)
    tiny, step = np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
    rows = [
        rng.integers(-3, 4, (300, classes)) * step,  # among the smallest, with ties and zeros
        -rng.integers(0, 4, (300, classes)) * step,  # none is positive
        rng.choice([0.0, tiny, tiny / 2, -tiny, 1.0], (300, classes)),
        rng.random((300, classes)),
        np.zeros((3, classes)),
    ]
    for scores in [rows[3], np.concatenate(rows)]:  # none is near zero, and some are
        scores = scores.astype(dtype)
        assert np.array_equal(run(mode, tf_subnormals.highest, scores), np.argmax(scores, axis=-1))


@pytest.mark.parametrize("mode", MODES)
def test_the_highest_score_of_bfloat16_is_numpys_of_the_same_numbers(mode):
    """NumPy itself has no bfloat16; all its numbers are float32s."""
    import tensorflow as tf

    from harness.exact import tf_subnormals

    upper = np.random.default_rng(3).integers(0, 1 << 15, (300, 10), dtype=np.uint32)
    upper[:100] &= 0x7F  # subnormal ones
    scores = np.where(upper < 0x7F80, upper << 16, 0).astype(np.uint32).view(np.float32)

    def highest(bits):
        return tf_subnormals.highest(tf.bitcast(tf.cast(bits, tf.uint16), tf.bfloat16))

    assert np.array_equal(run(mode, highest, (scores.view(np.uint32) >> 16).astype(np.int32)), np.argmax(scores, axis=-1))


@pytest.mark.parametrize("mode", MODES)
def test_the_logarithm_of_the_smallest_numbers(mode):
    from harness.exact import tf_subnormals

    x = np.concatenate([numbers(np.float64), [1e-310, 5e-324, 2.0**-1022, 0.5, 1.0]])
    x = x[x > 0]
    found = run(mode, lambda x: tf_subnormals.log(x, x.dtype), x)
    assert found.tolist() == pytest.approx([math.log(v) for v in x.tolist()], rel=4e-16, abs=1e-16)
    zero = run(mode, lambda x: tf_subnormals.log(x, x.dtype), np.array([0.0, -1.0]))
    assert zero[0] == -np.inf and np.isnan(zero[1])


@pytest.mark.parametrize("mode", MODES)
def test_differences_are_numpys(mode):
    from harness.exact import tf_subnormals

    rng = np.random.default_rng(9)
    x = np.concatenate(
        [numbers(np.float64), numbers(np.float64) % 2.0**-955, rng.normal(size=3000) * 2.0 ** rng.integers(-1074, -950, 3000)]
    )
    close = x * (1 + rng.integers(-3, 4, len(x)) * 2.0**-52)
    with np.errstate(over="ignore", invalid="ignore"):
        x, y = np.tile(x, 4), np.concatenate([rng.permutation(x), close, np.zeros_like(x), -x])
        found, wanted = run(mode, tf_subnormals.difference, x, y), x - y
    good = np.isfinite(wanted)
    assert np.array_equal(found[good], wanted[good])
