"""COCO's twelve numbers: against pycocotools on the whole set, however the images are batched and the categories parted."""

import contextlib
import io

import numpy as np
import pytest
import tensorflow as tf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harness.errors import JobError, ShapeError
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.contract import Totals, Undefined, row_sums
from harness.metrics.detection import PRECISIONS, RECALLED, Coco
from harness.ranks.comm import SingleComm
from harness.sums.row_reduction import reduce_rows
from harness.sums.rows import RowTable
from tests.thread_comm import on_ranks

NAMES = {"scores": "scores", "classes": "classes", "label_classes": "label_classes", "label": "boxes", "output": "found"}
TWELVE = [*PRECISIONS, *RECALLED]


class Images:
    """Images with padded boxes: left, top, width, height; what the metric is given by name."""

    def __init__(self, seed, images=15, room=12, found=130, categories=5, ties=0):
        draw = np.random.default_rng(seed)
        size = np.exp(draw.uniform(np.log(6), np.log(250), (images, room, 2)))  # small, medium and large
        self.boxes = np.concatenate([draw.uniform(0, 400, (images, room, 2)), size], axis=2).astype(np.float32)
        self.label_classes = draw.integers(-categories // 2, categories, (images, room))
        self.crowd = (draw.random((images, room)) < 0.1).astype(np.int64)
        self.area = (size.prod(axis=2) * draw.uniform(0.5, 1.0, (images, room))).astype(np.float32)
        # Detections: boxes to find, moved a little, many of them twice; and boxes anywhere.
        near = draw.integers(0, room, (images, found))
        self.found = np.take_along_axis(self.boxes, near[..., None], axis=1) + draw.normal(0, 4, (images, found, 4))
        self.found = np.where(draw.random((images, found, 1)) < 0.6, self.found, draw.uniform(5, 300, (images, found, 4)))
        self.found = np.maximum(self.found, 1).astype(np.float32)
        same = draw.random((images, found)) < 0.8
        self.classes = np.where(
            same, np.take_along_axis(self.label_classes, near, axis=1), draw.integers(-3, categories + 1, near.shape)
        )
        self.scores = draw.random((images, found)).astype(np.float32)
        if ties:
            self.scores = np.floor(self.scores * ties) / np.float32(ties)

    def __len__(self):
        return len(self.boxes)

    def kwargs(self, crowd=True, area=True):
        given = {"scores": self.scores, "classes": self.classes, "label_classes": self.label_classes}
        return {**given, **({"crowd": self.crowd} if crowd else {}), **({"area": self.area} if area else {})}

    def oracle(self, crowd=True, area=True):
        """What pycocotools says of all images at once; -1 where there is nothing to find."""
        truths, guesses = [], []
        for image in range(len(self)):
            for j in np.flatnonzero(self.label_classes[image] >= 0):
                box = self.boxes[image, j].astype(float).tolist()
                truths.append(
                    {"id": len(truths) + 1, "image_id": image, "category_id": int(self.label_classes[image, j]), "bbox": box,
                     "area": float(self.area[image, j]) if area else box[2] * box[3],
                     "iscrowd": int(self.crowd[image, j]) if crowd else 0}
                )  # fmt: skip
            guesses += [
                {"image_id": image, "category_id": int(self.classes[image, j]),
                 "bbox": self.found[image, j].astype(float).tolist(), "score": float(self.scores[image, j])}
                for j in np.flatnonzero(self.classes[image] >= 0)
            ]  # fmt: skip
        categories = sorted({truth["category_id"] for truth in truths} | {guess["category_id"] for guess in guesses})
        with contextlib.redirect_stdout(io.StringIO()):
            known = COCO()
            known.dataset = {
                "images": [{"id": i} for i in range(len(self))], "categories": [{"id": c} for c in categories],
                "annotations": truths,
            }  # fmt: skip
            known.createIndex()
            found = COCOeval(known, known.loadRes(guesses), "bbox")
            found.evaluate()
            found.accumulate()
            found.summarize()
        return found


def rows_of(metric, images, batch=7, **given):
    """The rows of all images, through the graph, a batch at a time."""
    tables = []
    kwargs = images.kwargs(**given)
    for start in range(0, len(images), batch):
        cut = slice(start, start + batch)
        tensors = {name: tf.constant(array[cut]) for name, array in kwargs.items()}
        rows = tf.function(lambda boxes, found, more: metric.terms(boxes, found, **more)["rows"].__dict__)(
            tf.constant(images.boxes[cut]), tf.constant(images.found[cut]), tensors
        )
        values = {name: column.numpy() for name, column in rows["values"].items()}
        ids = rows["per_row"].numpy() + start
        table = RowTable(rows["key"].numpy(), values, ids, np.zeros((len(ids), 0), np.int64), rows["group"].numpy())
        tables.append(table)
    columns = [table.to_arrays() for table in tables]
    return RowTable.from_arrays({name: np.concatenate([batch[name] for batch in columns]) for name in columns[0]})


def value(metric, table, images=1, times=None):
    folded = reduce_rows(metric, table, SingleComm(), multiplicities=times)
    return metric.value(Totals(row_sums(folded[0, 1 if times else 0]), positions=images, weight=images))


def metric_for(crowd=True, area=True, box_format="xywh", **options):
    return Coco(
        **NAMES, box_format=box_format, crowd="crowd" if crowd else None, area="area" if area else None, **options
    )  # fmt: skip


@pytest.mark.parametrize("ties", [0, 6])
@pytest.mark.parametrize(("crowd", "area"), [(True, True), (False, False)])
def test_the_twelve_numbers_are_pycocotools(ties, crowd, area):
    images = Images(1, ties=ties)
    expected = images.oracle(crowd, area).stats
    found = value(metric_for(crowd, area), rows_of(metric_for(crowd, area), images, crowd=crowd, area=area))
    assert list(found) == TWELVE
    assert list(found.values()) == pytest.approx(expected.tolist(), rel=1e-13)
    assert min(expected) > 0.05 and len(set(expected.tolist())) == 12


def test_curves_have_the_bits_of_pycocotools():
    images = Images(2, images=12, ties=8)
    precision = images.oracle().eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, categories: all areas, 100
    metric = metric_for(per_class=True)
    found = value(metric, rows_of(metric, images))
    present = [category for category in range(precision.shape[2]) if (precision[..., category] > -1).all()]
    assert found == {str(c): pytest.approx(precision[..., c].mean(), rel=1e-14) for c in present}
    assert len(present) == 5


def test_order_of_rows_and_size_of_batches_do_not_matter():
    images = Images(3, images=9, ties=4)
    table = rows_of(metric_for(), images, batch=9)
    expected = value(metric_for(), table)
    assert value(metric_for(), rows_of(metric_for(), images, batch=3)) == expected
    assert value(metric_for(), table.take(np.random.default_rng(1).permutation(len(table)))) == expected


@pytest.mark.parametrize("ranks", [2, 5])
def test_rows_spread_over_ranks_give_the_same_bits(ranks):
    table = rows_of(metric_for(), Images(3, images=9, ties=4))
    expected = reduce_rows(metric_for(), table, SingleComm())

    def work(comm):
        return reduce_rows(metric_for(), table.take(table.ids % ranks == comm.rank), comm)

    assert on_ranks(ranks, work)[0] == expected


def test_an_image_drawn_twice_is_the_image_twice():
    images = Images(4, images=12)
    table = rows_of(metric_for(), images)
    times = np.array([2, 0, 1, 3, 0, 1, 1, 2, 0, 0, 1, 1])
    drawn = Images(4, images=12)
    for name, array in vars(drawn).items():
        setattr(drawn, name, np.repeat(array, times, axis=0))
    found = value(metric_for(), table, times=lambda ids: times[ids][:, None])
    assert list(found.values()) == pytest.approx(drawn.oracle().stats.tolist(), rel=1e-13)


@pytest.mark.parametrize(("box_format", "columns"), [("xyxy", [0, 1, 2, 3]), ("yxyx", [1, 0, 3, 2])])
def test_box_formats(box_format, columns):
    images = Images(5, images=10)
    for name in ("boxes", "found"):
        setattr(images, name, np.rint(getattr(images, name)))  # so that adding and subtracting is exact
    expected = value(metric_for(), rows_of(metric_for(), images))
    for name in ("boxes", "found"):
        boxes = getattr(images, name)
        setattr(images, name, np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=2)[..., columns])
    assert value(metric_for(box_format=box_format), rows_of(metric_for(box_format=box_format), images)) == expected


def test_counts_mark_padding():
    images = Images(6, images=8, room=5, found=9)
    images.label_classes, images.classes = abs(images.label_classes), abs(images.classes)
    counts = np.array([0, 5, 2, 1, 5, 0, 3, 4]), np.array([9, 0, 4, 9, 1, 0, 2, 5])
    metric = metric_for(count="count", label_count="label_count")
    rows = metric.terms(
        tf.constant(images.boxes), tf.constant(images.found), count=tf.constant(counts[1]),
        label_count=tf.constant(counts[0][:, None]), **{k: tf.constant(v) for k, v in images.kwargs().items()},
    )["rows"]  # fmt: skip
    values = {name: column.numpy() for name, column in rows.values.items()}
    table = RowTable(rows.key.numpy(), values, rows.per_row.numpy(), np.zeros((len(rows.key), 0), np.int64), rows.group.numpy())
    images.label_classes[np.arange(5) >= counts[0][:, None]] = -1
    images.classes[np.arange(9) >= counts[1][:, None]] = -1
    assert list(value(metric, table).values()) == [None if x < 0 else pytest.approx(x, rel=1e-13) for x in images.oracle().stats]


def test_one_box_by_hand():
    images = Images(0, images=1, room=1, found=2)
    images.boxes[:], images.label_classes[:], images.crowd[:] = [10, 10, 40, 40], 3, 0
    # The better one overlaps by 40 x 30 of 40 x 40: IoU 0.75, found at 6 of 10 thresholds. The worse one is no match.
    images.found[0], images.classes[:], images.scores[0] = [[10, 10, 40, 30], [200, 200, 40, 40]], 3, [0.9, 0.8]
    metric = metric_for(area=False)
    found = value(metric, rows_of(metric, images, area=False))
    # pycocotools divides by found + 2.2e-16: a perfect precision is just below 1
    assert found["AR1"] == 0.6 and [found[name] for name in ("AP", "AP_medium")] == pytest.approx([0.6, 0.6], rel=1e-15)
    assert [found["AP50"], found["AP75"]] == pytest.approx([1.0, 1.0], rel=1e-15)
    assert found["AP_small"] is None and found["AR_large"] is None


def test_images_without_boxes():
    images = Images(7, images=6)
    images.label_classes[:3] = -1
    images.classes[2:5] = -1
    found = value(metric_for(), rows_of(metric_for(), images))
    assert list(found.values()) == pytest.approx(images.oracle().stats.tolist(), rel=1e-13)
    images.classes[:] = -1
    assert set(value(metric_for(), rows_of(metric_for(), images)).values()) == {0.0}
    images.label_classes[:] = -1
    with pytest.raises(Undefined, match="no boxes to find"):
        value(metric_for(), rows_of(metric_for(), images))


def test_numbers_that_are_none_make_the_value_null():
    for name, bad in [("scores", np.nan), ("found", np.inf), ("boxes", np.nan)]:
        images = Images(8, images=5)
        images.classes[1], images.label_classes[1] = abs(images.classes[1]), abs(images.label_classes[1])
        getattr(images, name)[1, 0] = bad
        with pytest.raises(Undefined, match="1 boxes, scores or classes are NaN"):
            value(metric_for(), rows_of(metric_for(), images))
    images.boxes[1, 0] = 1
    images.classes = images.classes + 0.5
    with pytest.raises(Undefined, match="no whole class"):
        value(metric_for(), rows_of(metric_for(), images))


def test_copies_that_fill_a_batch_get_rows_of_their_own():
    images = Images(9, images=3)
    for array in (images.boxes, images.found, *images.kwargs().values()):
        array[2] = array[0]
    table = rows_of(metric_for(), images, batch=3)
    counts = np.bincount(table.ids)
    assert counts[0] == counts[2] > 0 and counts.sum() == len(table)


def test_shapes_are_refused_by_name():
    metric, images = metric_for(), Images(10, images=2)
    given = {name: tf.constant(array) for name, array in images.kwargs().items()}
    with pytest.raises(ShapeError, match=r"boxes \[B, M, 4\] of known size, found output int64 \(2, 130\)"):
        metric.terms(tf.constant(images.boxes), tf.constant(images.classes), **given)
    with pytest.raises(ShapeError, match=r"expected scores \[B, 130\], numbers that go with the boxes, found float32 \(2, 12\)"):
        metric.terms(tf.constant(images.boxes), tf.constant(images.found), **{**given, "scores": given["area"]})
    with pytest.raises(ShapeError, match="needs the boxes to find"):
        metric.terms(None, tf.constant(images.found), **given)


def test_it_takes_no_weights_and_says_what_it_reads():
    binding = metric_for().binding("a", "b", "weight")
    assert not Coco.takes_weights and binding.weight is None and (binding.output, binding.label) == ("found", "boxes")
    assert binding.also == (("label_classes", "label_classes"), ("crowd", "crowd"), ("area", "area"))
    assert binding.outputs == (("scores", "scores"), ("classes", "classes"))
    with pytest.raises(JobError, match="box_format: Field required"):
        make([MetricSpec(name="coco", options={"scores": "s", "classes": "c", "label_classes": "l"})])
