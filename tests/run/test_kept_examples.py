"""What a run keeps of its examples: records that are read again, pictures and texts, and what is refused before there is work."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import harness
from harness.data.pictures import thumbnail
from harness.errors import JobError
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.metrics import make
from harness.plan.drawn import Drawn
from harness.prepare.binding import ask
from harness.results.terminal import console_for, show_examples
from harness.run.verify import verify
from harness.sums.capacity import check_examples
from harness.sums.grid import GridLayout
from harness.sums.layout import Layout
from harness.sums.selection import ExamplesLayout
from harness.sums.sums import Layouts
from tests import made

pytestmark = pytest.mark.slow

EXAMPLES = made.examples()


def test_pictures_texts_and_the_weights_of_the_moment(tmp_path):
    rng = np.random.default_rng(4)
    arrays = {
        "image": rng.integers(0, 256, (60, 20, 24, 3), np.uint8), "note": np.array([b"x" * 300, *(b"caf\xc3\xa9 %d" % n for n in range(59))]),
        "place": rng.random((60, 2)).astype(np.float32), "label": rng.integers(0, 2, 60), "city": rng.choice(["Oslo", "Rome"], 60),
    }  # fmt: skip
    tilt = tf.Variable(1.0)

    def predict(features):
        image, note = features["image"], features["note"]
        score = (
            tilt * (tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3]) - 127.5)
            + tf.cast(tf.strings.length(note), tf.float32) * 1e-4
        )
        return tf.stack([tf.zeros_like(score), score], axis=1)

    evaluator = harness.Evaluator(
        predict, arrays, [{"cross_entropy": {"from_logits": True}}], label="label", inputs={"image": "image", "note": "note"},
        slices={"by": ["city"], "minimum": 2}, examples={"worst": 4, "per": "slice", "features": ["place"]}, classes=["cat", "dog"],
        batch_size=8, alone=True, progress=False,
    )  # fmt: skip
    for sign in (1.0, -1.0):
        tilt.assign(sign)
        results = evaluator.evaluate(tmp_path / f"run{sign}")
        table = results.examples
        score = sign * (arrays["image"].mean(axis=(1, 2, 3)) - 127.5) + 1e-4 * np.char.str_len(arrays["note"])
        loss = np.logaddexp(0, np.where(arrays["label"] == 1, -score, score))
        for group in ("", "city=Oslo", "city=Rome"):
            among = [n for n in np.argsort(-loss) if group in ("", f"city={arrays['city'][n]}")]
            assert table[table["group"] == group]["id"].tolist() == among[:4]
        ids = table["id"].tolist()
        np.testing.assert_allclose(table["loss"], loss[ids], rtol=1e-4)
        assert table["label"].tolist() == [["cat", "dog"][arrays["label"][n]] for n in ids]
        assert table["text"].tolist() == [arrays["note"][n].decode()[:200] for n in ids]
        assert [list(values) for values in table["feature:place"]] == arrays["place"][ids].tolist()
        for png, example in zip(table["thumbnail"], ids, strict=True):
            np.testing.assert_array_equal(tf.io.decode_png(png), arrays["image"][example])
        lines, good = verify(RunFolder(tmp_path / f"run{sign}"))
        assert good, lines
    pd.testing.assert_frame_equal(harness.Results.load(tmp_path / "run-1.0").examples, table)
    assert evaluator.evaluate(tmp_path / "run-1.0").examples.equals(table)  # read


def test_records_of_a_part_of_the_examples_are_found_again(world, tmp_path, capsys):
    kernel = made.kernel()
    files = [str(world.folder / name) for name, _, _ in made.FILES]
    model = lambda x: tf.nn.softmax(x @ kernel)  # noqa: E731
    results = harness.evaluate(
        model, {"files": files, "sample": 0.4}, "cross_entropy", label="label", inputs=["x"], output=tmp_path / "run", alone=True,
        examples={"worst": 500, "features": ["target", "x"]}, progress=False, batch_size=16,
    )  # fmt: skip
    table, ids = results.examples, results.examples["id"].to_numpy()
    assert sorted(ids) == Drawn([203], 0.4, None)[:].tolist()
    np.testing.assert_array_equal(table["feature:target"].astype(np.float32), EXAMPLES.target[ids])
    np.testing.assert_array_equal(np.stack(table["feature:x"]).astype(np.float32), EXAMPLES.x[ids])
    names, counts, _ = zip(*made.FILES, strict=True)
    assert (table["file"].map(dict(zip(names, np.cumsum((0, *counts)).tolist(), strict=False))) + table["record"] == ids).all()
    assert results.document["examples"]["by"] == "cross_entropy" and results.document["examples"]["worst"] == 500
    show_examples(RunFolder(tmp_path / "run"), console_for(2))
    assert "feature:target" in capsys.readouterr().out
    path = tmp_path / "run" / "examples.parquet"
    path.write_bytes(path.read_bytes().replace(b"worst", b"w0rst"))
    assert verify(RunFolder(tmp_path / "run"))[0][0] == "examples.parquet is not the file whose SHA-256 metrics.json names"


def test_images_are_counted_in_the_folder_that_the_job_names(tmp_path):
    names = [f"flowers/{label}/{number}.png" for label in ("iris", "rose") for number in range(3)]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(tf.io.encode_png(np.full((2, 2, 3), 40 * number, np.uint8)).numpy())

    def predict(image):
        score = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3]) / 255
        return tf.stack([score, 1 - score], axis=1)

    table = harness.evaluate(
        predict, {"files": str(tmp_path / "flowers"), "format": "images", "features": {"image": {"dtype": "float32", "shape": [2, 2, 3], "image": True}}}, "cross_entropy",
        label="label", inputs=["image"], examples={"worst": 6}, alone=True, progress=False,
    ).examples  # fmt: skip
    assert sorted(zip(table["id"], table["file"], table["record"], strict=True)) == list(
        zip(range(6), names, range(6), strict=True)
    )


@pytest.mark.parametrize(
    "metrics, examples, message",
    [
        (["accuracy"], {}, "examples.by: expected a metric that is the mean of a loss of each example, the job has none: add cross_entropy"),
        (["accuracy", "cross_entropy"], {"by": "accuracy"}, "'accuracy' is none: name one of cross_entropy"),
        (["cross_entropy"], {"by": "cross_entrpy"}, "examples.by: the job has no metric 'cross_entrpy': "),
        (["mean_absolute_error"], {"also": "confident"}, "examples.also: confident: metric mean_absolute_error predicts no class"),
        (["mean_absolute_error"], {"per": "confusion"}, "examples.per: confusion: metric mean_absolute_error predicts no class"),
        (["cross_entropy"], {"per": "slice"}, "examples.per: slice: the job has no slices"),
        (["cross_entropy"], {"worst": 0}, "examples.worst"),
        (["cross_entropy"], {"wurst": 1}, "unknown key 'examples.wurst'.*worst"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(metrics, examples, message):
    with pytest.raises(JobError, match=message):
        job = Job.from_dict({"model": "m", "data": {"files": "x.npz", "label": "y"}, "metrics": metrics, "examples": examples})
        made_metrics = make(job.metrics)
        ask(job, made_metrics, {key: metric.binding("p", "y", None) for key, metric in made_metrics.items()}, None)


def test_what_does_not_fit_is_refused_with_its_size():
    kept = ExamplesLayout(("worst",), 50, sliced=True, columns=(("loss", "float64"),), scores=(1000, "float32"))
    state = Layout((), ())
    layouts = Layouts(state, GridLayout((), (), (), (), state), specs=1, examples=kept)
    assert check_examples(layouts, 1, 10**6, 64, 1 << 21) == (50 + 2 * 64) * 8 * 1006
    with pytest.raises(
        JobError, match=r"examples: 50,128 of 8,048 bytes, of 1,000 groups and a chunk of 64, take 384.7 MiB a rank"
    ):
        check_examples(layouts, 1000, 10**6, 64, 1 << 20)


def test_a_thumbnail_is_small_and_its_numbers_are_stretched():
    large = thumbnail(np.arange(200 * 100, dtype=np.float64).reshape(200, 100) - 5)
    picture = tf.io.decode_png(large).numpy()
    assert picture.shape == (67, 34, 1) and picture.min() < 3 and picture.max() > 252
    assert tf.io.decode_png(thumbnail(np.array([[[0.0], [0.5]], [[1.0], [np.nan]]]))).numpy().ravel().tolist() == [0, 128, 255, 0]
    assert tf.io.decode_png(thumbnail(np.full([2, 2, 3], -7.0, np.float32))).numpy().max() == 0
