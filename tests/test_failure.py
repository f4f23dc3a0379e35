"""What TensorFlow raises in the loop, as a message that names the place and says what to do."""

from types import SimpleNamespace

import pytest

from harness.errors import DataError, HarnessError
from harness.failure import translate
from harness.job import Job
from harness.plan import File, Plan

PLAN = Plan((File("a.tfrecord", 0, 10),), 4, 4)
JOB = Job.from_dict({"model": "m", "data": {"files": "a.tfrecord", "label": "y"}, "metrics": ["accuracy"], "batch_size": 4})


def feed(error=None, found=None):
    asked = []

    def explain(start, stop):
        asked.append((start, stop))
        return (found or {}).get((start, stop))

    return SimpleNamespace(error=error, reading=PLAN[2] if error else None, asked=asked, explain=explain)


def test_out_of_memory_says_the_batch_size():
    import tensorflow as tf

    error = translate(tf.errors.ResourceExhaustedError(None, None, "OOM"), feed(), PLAN, [PLAN[1]], JOB)
    assert type(error) is HarnessError and error.exit_code == 1
    assert str(error) == (
        "chunk 1 (a.tfrecord, records 4..8): the device is out of memory with batch_size 4; try --set batch_size=2"
    )


def test_what_does_not_parse_is_looked_for_as_far_as_a_call_may_reach():
    import tensorflow as tf

    source = feed(found={(8, 10): "a.tfrecord, record 9: feature 'x' is missing"})
    error = translate(tf.errors.InvalidArgumentError(None, None, "parse"), source, PLAN, [PLAN[0], PLAN[2]], JOB)
    assert isinstance(error, DataError) and "record 9" in str(error)
    assert source.asked == [(0, 4), (8, 10)]  # chunk 1 is another rank's


@pytest.mark.parametrize("raised", [DataError("record 3 is corrupt"), OSError("gone")])
def test_what_the_reader_raised_goes_before_what_tensorflow_made_of_it(raised):
    import tensorflow as tf

    error = translate(tf.errors.UnknownError(None, None, "text"), feed(error=raised), PLAN, [PLAN[0]], JOB)
    assert isinstance(error, DataError) and str(raised) in str(error)
    # the chunk that was read, ahead of the one that was asked for
    assert isinstance(raised, DataError) or str(error).startswith("chunk 2 (a.tfrecord, records 8..10): reading failed: OSError")
