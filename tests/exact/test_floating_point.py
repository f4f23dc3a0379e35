"""Python on TensorFlow's threads: numbers next to zero are kept where that is asked for, and there alone."""

import numpy as np


def halves() -> list[float]:
    return [float("1e-310") / 2, float(np.array([3e-310])[0] / 2)]


KEPT = [5e-311, 1.49999999999997e-310]


def test_a_call_keeps_them_and_leaves_the_thread_as_it_was():
    import tensorflow as tf

    from harness.exact.floating_point import subnormals_kept

    def call() -> np.ndarray:
        before = halves()
        with subnormals_kept():
            within = halves()
        return np.array([before, within, halves()])

    found = tf.function(lambda: tf.numpy_function(call, [], tf.float64))().numpy()
    assert found.tolist() == [[0.0, 0.0], KEPT, [0.0, 0.0]]
    with subnormals_kept():
        assert halves() == KEPT
    assert halves() == KEPT


def test_a_generator_keeps_them_in_every_step_and_is_closed():
    import tensorflow as tf

    from harness.exact.floating_point import with_subnormals

    closed = []

    def generate():
        try:
            for _ in range(3):
                yield np.array(halves())
        finally:
            closed.append(True)

    data = tf.data.Dataset.from_generator(with_subnormals(generate), output_signature=tf.TensorSpec([2], tf.float64))
    assert [step.numpy().tolist() for step in data] == [KEPT] * 3 and closed == [True]
    steps = with_subnormals(generate)()
    next(steps)
    steps.close()
    assert closed == [True, True]
