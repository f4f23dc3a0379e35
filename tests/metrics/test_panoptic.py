"""Panoptic quality against a worked example and against sets of pixels."""

import numpy as np
import pytest

from harness.errors import JobError, ShapeError
from tests.metrics.batches import reason_of, result_of, value_of

CLOSE = {"rel": 1e-12, "abs": 0}


def test_worked_example():
    # Things 1, stuff 2, void 0; category.instance of eight pixels in each of two images.
    labels = np.array([
        [[1, 1], [1, 1], [1, 1], [1, 2], [2, 0], [2, 0], [0, 0], [0, 0]],
        [[2, 0], [2, 0], [2, 0], [2, 0], [2, 0], [1, 1], [1, 1], [1, 1]],
    ])[:, None]  # fmt: skip
    found = np.array([
        # 1.7 meets 1.1 in 3 of 4 pixels; 1.2 is missed; 2 meets 2 in 2 of 2, as its void pixel is left out; 1.8 is on void
        [[1, 7], [1, 7], [1, 7], [1, 7], [2, 5], [2, 6], [2, 5], [1, 8]],
        # 2 meets 2 in 2 of 5, not enough: missed and wrong; 1.1 meets 1.1 in 3 of 6
        [[2, 0], [2, 0], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1]],
    ])[:, None]  # fmt: skip
    table = value_of("panoptic_quality", labels, found, things=[1], stuffs=[2], average="per_class", names=("void", "cat", "sky"))
    assert table.columns == ("class", "pq", "sq", "rq", "tp", "fp", "fn")
    # cat: TP 0.75, missed 1.2 and, at IoU 1/2 exactly, image two's; wrong likewise one. sky: TP 1, missed 1, wrong 1.
    assert table.rows == (("cat", 0.75 / 2.5, 0.75, 1 / 2.5, 1, 1, 2), ("sky", 0.5, 1.0, 0.5, 1, 1, 1))
    value = value_of("panoptic_quality", labels, found, things=[1], stuffs=[2])
    assert value == pytest.approx(
        {"pq": 0.4, "sq": 0.875, "rq": 0.45, "pq_things": 0.3, "sq_things": 0.75, "rq_things": 0.4,
         "pq_stuffs": 0.5, "sq_stuffs": 1.0, "rq_stuffs": 0.5}, **CLOSE
    )  # fmt: skip


def by_sets(labels: np.ndarray, found: np.ndarray, things: list[int], stuffs: list[int]) -> dict[int, list[float]]:
    """Return sum of IoU, TP, FP, FN of each category, from sets of pixels and all their pairs."""
    sums = {category: [0.0, 0, 0, 0] for category in things + stuffs}

    def segments(image):
        where: dict[tuple[int, int], set[int]] = {}
        void = set()
        for pixel, (category, instance) in enumerate(image.reshape(-1, 2).tolist()):
            if category not in sums:
                void.add(pixel)
            else:
                where.setdefault((category, instance if category in things else 0), set()).add(pixel)
        return where, void

    for label, guess in zip(labels, found, strict=True):
        (true, void), (mine, _) = segments(label), segments(guess)
        matched_true, matched_mine = set(), set()
        for a, pixels in true.items():
            for b, others in mine.items():
                if a[0] == b[0] and len(pixels & others) / len(pixels | (others - void)) > 0.5:
                    sums[a[0]][0] += len(pixels & others) / len(pixels | (others - void))
                    sums[a[0]][1] += 1
                    matched_true.add(a)
                    matched_mine.add(b)
        for b in mine.keys() - matched_mine:
            sums[b[0]][2] += len(mine[b] & void) / len(mine[b]) <= 0.5
        for a in true.keys() - matched_true:
            sums[a[0]][3] += 1
    return sums


@pytest.mark.parametrize("seed", range(6))
def test_random_maps(seed):
    rng = np.random.default_rng(seed)
    things, stuffs = [900, 3, -7], [12, 40]
    blocks = np.stack([rng.choice([*things, *stuffs, 0, 55], (9, 4, 3)), rng.choice([0, 1, 2**40, -5], (9, 4, 3))], axis=-1)
    labels = blocks.repeat(3, axis=1).repeat(4, axis=2)
    found = np.where(rng.random((9, 12, 12, 1)) < 0.2, rng.permutation(labels), np.roll(labels, 1, axis=2))
    expected = by_sets(labels, found, things, stuffs)
    table = value_of("panoptic_quality", labels, found, things=things, stuffs=stuffs, average=None, batch=4)
    for line, (iou, tp, fp, fn) in zip(table.rows, expected.values(), strict=True):
        assert line[4:] == (tp, fp, fn)
        assert line[1] == pytest.approx(iou / (tp + fp / 2 + fn / 2), **CLOSE)
    assert sum(line[4] for line in table.rows) > 5
    value = value_of("panoptic_quality", labels, found, things=things, stuffs=stuffs)
    assert value["pq"] == pytest.approx(np.mean([line[1] for line in table.rows]), **CLOSE)
    names = list(expected)
    repeats = value_of("panoptic_quality", labels.repeat(3, axis=0), found.repeat(3, axis=0), things=names[:3], stuffs=names[3:])
    assert repeats == pytest.approx(value, **CLOSE)


def test_class_without_match_and_nothing_at_all():
    labels, found = np.array([[[1, 1], [1, 1]]])[:, None], np.array([[[2, 1], [2, 1]]])[:, None]
    assert value_of("panoptic_quality", labels, found, things=[1, 2, 3]) == {"pq": 0.0, "sq": 0.0, "rq": 0.0}
    table = value_of("panoptic_quality", labels, found, things=[1, 2, 3], average="per_class")
    assert table.rows == (("1", 0.0, None, 0.0, 0, 0, 1), ("2", 0.0, None, 0.0, 0, 1, 0), ("3", None, None, None, 0, 0, 0))
    assert "no category of things or stuffs" in reason_of("panoptic_quality", labels, found, stuffs=[5])


def test_refused():
    pixels = np.zeros([1, 2, 2, 2], int)
    with pytest.raises(JobError, match="list each category once"):
        value_of("panoptic_quality", pixels, pixels, things=[1], stuffs=[1])
    with pytest.raises(JobError, match="list each category once"):
        value_of("panoptic_quality", pixels, pixels)
    with pytest.raises(Exception, match="category and instance of each pixel") as caught:
        result_of("panoptic_quality", pixels[..., 0], pixels[..., 0], things=[1])
    assert isinstance(caught.value, ShapeError) or "ShapeError" in str(caught.value)
