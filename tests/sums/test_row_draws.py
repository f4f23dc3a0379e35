"""Bootstraps of rankings: whole groups are drawn. The oracle draws the same groups in NumPy and averages values by hand."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from harness.exact.draws import multiplicities
from harness.metrics.contract import RowMetric, Totals, row_sums
from harness.metrics.ranking import GroupedAuc, HitRate, MeanAveragePrecision, MeanReciprocalRank, Ndcg, PrecisionAtK, RecallAtK
from harness.metrics.retrieval import RetrievalRecall
from harness.sums.row_draws import KEY_BLOCK, RowDraws, torn_groups
from tests.row_case import fold_on_ranks, rows

REPLICATES, SEED = 30, 17
K = 3


def draw(keys: np.ndarray) -> np.ndarray:
    return multiplicities(keys, SEED, REPLICATES)


def drawn(seed: int, groups: int = 40) -> dict[str, np.ndarray]:
    """Groups of uneven size all over the data, with names that are not ids; users hold whole groups."""
    random = np.random.default_rng(seed)
    number = np.concatenate([np.arange(groups), random.integers(0, groups, 5 * groups)])
    random.shuffle(number)
    label = random.integers(0, 2, len(number)).astype(float)
    score = random.normal(size=len(number)) + 0.7 * label
    user = random.integers(0, 9, groups) * 1009 - 10**12
    return {"group": number * 7919 - 10**6, "label": label, "score": score, "user": user[number]}


def relevant_first(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    return label[np.argsort(-score)] > 0


def recall(label: np.ndarray, score: np.ndarray) -> float | None:
    hits = relevant_first(label, score)
    return hits[:K].sum() / hits.sum() if hits.any() else None


def precision(label: np.ndarray, score: np.ndarray) -> float:
    return relevant_first(label, score)[:K].sum() / K


def hit(label: np.ndarray, score: np.ndarray) -> float:
    return float(relevant_first(label, score)[:K].any())


def reciprocal(label: np.ndarray, score: np.ndarray) -> float:
    hits = relevant_first(label, score)
    return 1 / (1 + int(np.argmax(hits))) if hits.any() else 0.0


def average_precision(label: np.ndarray, score: np.ndarray) -> float | None:
    hits = relevant_first(label, score)
    places = np.flatnonzero(hits) + 1
    return float(np.mean(np.arange(1, len(places) + 1) / places)) if len(places) else None


def ndcg(label: np.ndarray, score: np.ndarray) -> float | None:
    gain = relevant_first(label, score) / np.log2(np.arange(2, len(label) + 2))
    best = np.sort(label)[::-1] / np.log2(np.arange(2, len(label) + 2))
    return gain.sum() / best.sum() if best.sum() else None


def area(label: np.ndarray, score: np.ndarray) -> float | None:
    p, n = score[label > 0], score[label == 0]
    return float((p[:, None] > n).mean()) if len(p) and len(n) else None


METRICS: list[tuple[RowMetric, Any]] = [
    (RecallAtK(query="q", k=K), recall),
    (PrecisionAtK(query="q", k=K), precision),
    (HitRate(query="q", k=K), hit),
    (MeanReciprocalRank(query="q"), reciprocal),
    (MeanAveragePrecision(query="q"), average_precision),
    (Ndcg(query="q"), ndcg),
    (GroupedAuc(query="q"), area),
]
IDS = [type(metric).__name__ for metric, _ in METRICS]


def mean_over_groups(one: Any, data: dict[str, np.ndarray], some: np.ndarray, by: str, weight: Any = None) -> list[float]:
    """Return the mean over groups in every replicate: each group's value times how often its key is drawn."""
    names = np.unique(data["group"][some])
    inside = [some & (data["group"] == name) for name in names]
    values = [one(data["label"][rows_], data["score"][rows_]) for rows_ in inside]
    keys = np.array([data[by][rows_][0] for rows_ in inside])
    own = np.ones(len(names)) if weight is None else np.array([weight[rows_][0] for rows_ in inside])
    counted = np.array([value is not None for value in values])
    times = draw(keys)[counted] * own[counted, None]
    return np.average(np.array([v for v in values if v is not None])[:, None].repeat(REPLICATES, 1), 0, times).tolist()


def values_of(metric: RowMetric, folded: dict[tuple[int, int], Any], number: int = 0) -> list[float]:
    found = [Totals(row_sums(folded[number, 1 + r]), positions=1, weight=Fraction(1)) for r in range(REPLICATES)]
    return [metric.value(totals) for totals in found]


@pytest.mark.parametrize("by", ["group", "user"])
@pytest.mark.parametrize(("metric", "oracle"), METRICS, ids=IDS)
def test_a_replicate_is_the_mean_of_the_groups_it_draws(metric, oracle, by):
    data = drawn(1)
    some = np.random.default_rng(2).random(len(data["group"])) < 0.6  # a slice that takes groups apart
    table = rows(
        -data["score"], {"label": data["label"]}, group=data["group"], slices=np.where(some, 1, -1),
        clusters=data["user"] if by == "user" else None,
    )  # fmt: skip
    folded = fold_on_ranks(metric, table, slices=2, multiplicities=draw)
    for number, part in ((0, np.ones(len(some), bool)), (1, some)):
        assert values_of(metric, folded, number) == pytest.approx(mean_over_groups(oracle, data, part, by), rel=1e-12)


@pytest.mark.parametrize(("metric", "oracle"), METRICS, ids=IDS)
def test_weights_of_groups_and_draws_multiply(metric, oracle):
    data = drawn(3)
    weight = np.random.default_rng(4).integers(1, 50, 40)[(data["group"] + 10**6) // 7919] / 8
    table = rows(-data["score"], {"label": data["label"]}, group=data["group"], weights=weight)
    found = values_of(metric, fold_on_ranks(metric, table, multiplicities=draw))
    expected = mean_over_groups(oracle, data, np.ones(len(weight), bool), "group", weight)
    assert found == pytest.approx(expected, rel=1e-12)


def test_what_is_perfect_stays_perfect():
    """Rows that stood twice for a group drawn twice pushed relevant ones beyond k: [0.79, 0.88] for a recall of 1."""
    group = np.repeat(np.arange(100), 4)
    table = rows(np.tile([-4.0, -3, -2, -1], 100), {"label": np.tile([1.0, 1, 0, 0], 100)}, group=group)
    metric = RecallAtK(query="q", k=2)
    assert values_of(metric, fold_on_ranks(metric, table, multiplicities=draw)) == [1.0] * REPLICATES


def test_two_models_are_drawn_alike():
    """What pairs their differences: the draw is of the query, whatever a model makes of it."""
    data = drawn(9)
    other = {**data, "score": np.random.default_rng(10).normal(size=len(data["score"]))}
    every = np.ones(len(data["score"]), bool)
    both = []
    for one in (data, other):
        table = rows(-one["score"], {"label": one["label"]}, group=one["group"])
        both.append(np.array(values_of(Ndcg(query="q"), fold_on_ranks(Ndcg(query="q"), table, multiplicities=draw))))
    expected = np.subtract(*(mean_over_groups(ndcg, one, every, "group") for one in (data, other)))
    assert both[0] - both[1] == pytest.approx(expected, rel=1e-9)


def test_counts_are_of_the_groups_drawn():
    data = drawn(5)
    metric = RecallAtK(query="q", k=K, counts=True)
    table = rows(-data["score"], {"label": data["label"]}, group=data["group"])
    names, first = np.unique(data["group"], return_index=True)
    some = np.array([data["label"][data["group"] == name].any() for name in names])
    assert not some.all()
    times = draw(names)
    for value, drawn_times in zip(values_of(metric, fold_on_ranks(metric, table, multiplicities=draw)), times.T, strict=True):
        assert (value["groups"], value["left_out"]) == (drawn_times[some].sum(), drawn_times[~some].sum())
    assert len(first) == 40


def test_clusters_that_cut_groups_are_refused():
    data = drawn(6)
    metric = Ndcg(query="q")
    clusters = data["user"].copy()
    torn = np.unique(data["group"])[:3]
    for name in torn:
        clusters[np.flatnonzero(data["group"] == name)[-1]] += 1
    assert torn_groups(np.sort(data["group"]), clusters[np.argsort(data["group"], kind="stable")]) == (3, 40)
    table = rows(-data["score"], {"label": data["label"]}, group=data["group"], clusters=clusters)
    folded = fold_on_ranks(metric, table, multiplicities=draw)
    whole = fold_on_ranks(metric, rows(-data["score"], {"label": data["label"]}, group=data["group"]))
    assert folded[0, 0] == whole[0, 0]  # the value itself has nothing to do with clusters
    reasons = {folded[0, 1 + r] for r in range(REPLICATES)}
    assert len(reasons) == 1 and "3 of 40 groups of 'q' have examples of several clusters" in reasons.pop()


def test_ties_go_by_example_id_with_clusters_too():
    """The draw's key took the place of the id: ties then went by label."""
    metric = MeanReciprocalRank(query="q")
    table = rows([-1.0, -1.0], {"label": [1.0, 0.0]}, group=[3, 3], clusters=[8, 8])
    folded = fold_on_ranks(metric, table, multiplicities=draw)
    assert metric.value(Totals(row_sums(folded[0, 0]), positions=2, weight=Fraction(2))) == 1.0


def test_different_multiplicities_within_a_group_are_no_ranking():
    from harness.metrics.groups import Ranked

    with pytest.raises(ValueError, match="drawn by whole groups"):
        Ranked(np.array([1, 1]), np.zeros(2), np.zeros(2), None, np.array([1, 2]))


def neighbours(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(60, 3)), random.integers(0, 4, 60), random.integers(0, 5, 60) + 100


def found_by(vectors: np.ndarray, label: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each has another of its label in its group, and whether the nearest is one."""
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    near = np.where(group[:, None] == group, unit @ unit.T, -np.inf)
    np.fill_diagonal(near, -np.inf)
    able = ((label[:, None] == label) & (group[:, None] == group)).sum(axis=1) > 1
    return able, label[near.argmax(axis=1)] == label


def test_those_that_do_not_look_are_still_found():
    """A bootstrap of one group draws those that look. Those it does not draw had vanished from what is found."""
    vectors, label, _ = neighbours(7)
    able, right = found_by(vectors, label, np.zeros(60))
    values = {f"e{n}": column for n, column in enumerate(vectors.T)} | {"label": label}
    metric = RetrievalRecall()
    found = values_of(metric, fold_on_ranks(metric, rows(np.zeros(60), values, group=np.zeros(60)), multiplicities=draw))
    assert found == pytest.approx([np.average(right[able], weights=t) for t in draw(np.arange(60))[able].T], rel=1e-12)


def test_retrieval_within_groups_draws_whole_groups():
    vectors, label, group = neighbours(8)
    able, right = found_by(vectors, label, group)
    values = {f"e{n}": column for n, column in enumerate(vectors.T)} | {"label": label}
    metric = RetrievalRecall(query="q")
    found = values_of(metric, fold_on_ranks(metric, rows(np.zeros(60), values, group=group), multiplicities=draw))
    assert found == pytest.approx([np.average(right[able], weights=t) for t in draw(group)[able].T], rel=1e-12)


def test_draws_of_many_rows_are_held_in_a_byte_each():
    keys = np.arange(40 * KEY_BLOCK)
    tracemalloc.start()
    try:
        table = RowDraws.of_keys(draw, keys).table
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert table.dtype == np.uint8 and held < 1.01 * REPLICATES * len(keys)
    assert (
        most < held + 64 * REPLICATES * KEY_BLOCK
    )  # a few copies of one block: as they are drawn, all would be eight times the table
    np.testing.assert_array_equal(table[:, -99:], draw(keys[-99:]).T)


def test_draws_become_wider_where_one_of_them_needs_it():
    keys = np.arange(3 * KEY_BLOCK)
    table = RowDraws.of_keys(lambda some: np.stack([some, some % 7], axis=1), keys).table
    assert table.dtype == np.uint16
    np.testing.assert_array_equal(table, [keys, keys % 7])
