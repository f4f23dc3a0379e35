"""A script of a user: evaluates through Python's door in every way, on however many ranks started it.

Arguments: the folder of models and data, a folder for results, and "init" where the script initialises Horovod itself.
Each rank leaves what it found in rank-N.json; a case that does not hold fails the rank.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import harness
from harness.errors import DataError, HarnessError
from tests import made

METRICS = ["accuracy", {"top_k": {"k": 2}}, "cross_entropy", "confusion_matrix", {"roc_auc": {"positive": 1}}]
SIZES: dict[str, Any] = {"batch_size": 16, "chunk_size": 32}


def failing(text: str, *args: Any, **options: Any) -> None:
    """Evaluate what every rank has to see fail."""
    try:
        harness.evaluate(*args, **options)
    except HarnessError as exc:
        assert text in str(exc), exc
    else:
        raise AssertionError(f"expected {text}")


@contextlib.contextmanager
def full_disk(limit: int | None) -> Iterator[None]:
    """Let this process write no file that is larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft if limit is None else limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def main(folder: Path, out: Path, init: bool) -> None:
    rank, size = 0, 1
    if init:
        import horovod.tensorflow as hvd

        hvd.init()
        rank, size = hvd.rank(), hvd.size()
    examples = made.examples()
    found: dict[str, Any] = {}
    files = [str(folder / name) for name, _, _ in made.FILES]

    run = harness.evaluate(
        folder / "classifier", files, METRICS, label="label", output=out / "run", slices=["label"],
        bootstrap={"replicates": 20}, **SIZES,
    )  # fmt: skip
    found["files"] = run.document
    again = harness.evaluate(
        folder / "classifier", files, METRICS, label="label", output=out / "run", slices=["label"],
        bootstrap={"replicates": 20}, **SIZES,
    )  # fmt: skip
    assert again.document == run.document

    both = {"first": folder / "classifier", "second": {"path": str(folder / "classifier.keras")}}
    sized: dict[str, Any] = {"bootstrap": {"replicates": 5}, **SIZES}
    found["several"] = harness.evaluate(both, files, ["accuracy"], label="label", output=out / "several", **sized).document

    model = keras.models.load_model(folder / "classifier.keras")
    mixed = {"object": model, "path": folder / "classifier", "function": lambda x: tf.nn.softmax(x @ made.kernel())}
    found["mixed"] = harness.evaluate(mixed, (examples.x, examples.label), ["accuracy"], **sized).document
    evaluator = harness.Evaluator(model, (examples.x, examples.label), METRICS, slices=None, **SIZES)
    found["arrays"] = evaluator.evaluate().document
    dataset = tf.data.Dataset.from_tensor_slices((examples.x, examples.label))
    found["dataset"] = harness.evaluate(model, dataset.batch(10), METRICS, **SIZES).document
    found["examples"] = harness.evaluate(model, dataset, METRICS, **SIZES).document
    weighted = (examples.x, examples.label, examples.weight)
    found["weights"] = harness.evaluate(model, weighted, ["accuracy", "cross_entropy"], **SIZES).document
    function = harness.evaluate(lambda x: tf.nn.softmax(x @ made.kernel()), dataset.batch(7), METRICS, **SIZES)
    found["function"] = function.document
    words = tf.constant([f"class {number}" for number in range(5)])

    def named(x: Any) -> dict[str, Any]:
        scores = tf.nn.softmax(x @ made.kernel())
        return {"scores": scores, "word": tf.gather(words, tf.argmax(scores, axis=1))}

    strings = harness.evaluate(named, (examples.x, examples.label), [{"accuracy": {"output": "scores"}}], **SIZES)
    found["strings"] = strings.document
    assert strings.warnings == (), strings.warnings

    # The weights of the moment; where ranks hold others, those of rank 0.
    (kernel,) = model.get_weights()
    model.set_weights([-kernel])
    found["other weights"] = evaluator.evaluate().document
    if init:
        rank = hvd.rank()
        model.set_weights([kernel + rank])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            differing = evaluator.evaluate()
        found["differing weights"] = differing.document
        np.testing.assert_array_equal(model.get_weights()[0], kernel + rank)  # as before
        assert bool(differing.warnings) == (size > 1)
        assert bool([w for w in said if "the weights differ between ranks" in str(w.message)]) == (size > 1 and rank == 0)
        model.set_weights([kernel])

        # What one rank alone does wrong is raised on all, and they can go on.
        if size > 1:
            for wrong, text in (
                (dataset.shard(size, rank), "every rank has to be given the same"),
                (dataset.batch(10).shuffle(30, seed=rank, reshuffle_each_iteration=False), "other examples than rank 0"),
            ):
                try:
                    harness.evaluate(model, wrong, METRICS, **SIZES)
                except DataError as exc:
                    assert text in str(exc), exc
                else:
                    raise AssertionError("ranks with other data were not refused")
            turned = mixed if rank == 0 else dict(reversed(mixed.items()))
            for data in ((examples.x, examples.label), files):
                failing("other models, metrics or options than rank 0", turned, data, ["accuracy"], label="label", **SIZES)
            last = made.EXAMPLES - 1

            def broken(x: Any, y: Any) -> Any:
                # found where it is read: after the examples that ranks compare before they begin
                bad = tf.reduce_any(tf.equal(y, -1))
                with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(bad), ["a broken record"])]):
                    return tf.identity(x), y

            labels = examples.label.copy()
            labels[last] = -1
            late = (
                tf.data.Dataset.from_tensor_slices((examples.x, labels))
                .map(broken)
                .apply(tf.data.experimental.assert_cardinality(made.EXAMPLES))
            )
            try:
                harness.evaluate(model, late, METRICS, **SIZES)
            except HarnessError as exc:
                assert "a broken record" in str(exc), exc
            else:
                raise AssertionError("a broken record was not found")
            own = {"python": {"metric": "tests.ranks.late_own:Late"}}
            failing("metric Late: Late.value raised KeyError", model, dataset.batch(10), [own], **SIZES)
            # A disk that is full on rank 0: before the loop, and after it. Then there is room, and the run goes on.
            for limit, text in ((200, "cannot be written"), (5000, "cannot be written")):
                with full_disk(limit if rank == 0 else None):
                    failing(text, model, (examples.x, examples.label), METRICS, output=out / f"full-{limit}", **SIZES)
                again = harness.evaluate(
                    model, (examples.x, examples.label), METRICS, output=out / f"full-{limit}", resume=True, **SIZES
                )
                assert again.document == found["arrays"]
        assert harness.evaluate(model, dataset, METRICS, **SIZES).document == found["examples"]
        alone = harness.evaluate(model, dataset, METRICS, alone=True, **SIZES)
        assert alone.document == found["examples"]
        rank = hvd.rank()
    else:
        found["differing weights"] = found["arrays"]
        horovod = sys.modules.get("horovod.tensorflow")
        rank = horovod.rank() if horovod else 0
    (out / f"rank-{rank}.json").write_text(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["init"])
