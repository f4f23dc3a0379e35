"""Curves that metrics bring, on the page: each with its data, several of one metric told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.report.page import render
from harness.report.subjects import read
from harness.results.tables import number
from tests import made
from tests.report.folders import Page, numbers


def test_a_ranking_shows_gains_and_lift_by_depth(tmp_path: Path) -> None:
    run = numbers(tmp_path / "run", [{"ranking_gains": {"query": "query", "depth": 8}}, {"ndcg": {"query": "query"}}])
    examples = made.examples()
    query, depths = np.arange(len(examples.x)) // 8, np.arange(8)
    shares: list[list[np.ndarray]] = [[], [], []]
    for own in (query == value for value in np.unique(query)):  # the last has fewer than 8
        score, label = examples.x[own, 0], np.abs(examples.target[own]).astype(np.float64)
        for column, order in zip(shares, (np.argsort(-score, kind="stable"), np.argsort(-label)), strict=False):
            column.append(np.cumsum(label[order])[np.minimum(depths, len(label) - 1)] / label.sum())
        shares[2].append(np.minimum(depths + 1, len(label)) / len(label))
    ranking, best, chance = (np.mean(column, axis=0) for column in shares)
    text = render(read([run]))
    assert "<figcaption>Ranking gains: cumulative gain, as a share<" in text
    assert "<figcaption>Ranking gains: lift over a random order<" in text
    rows = [row for row in Page(text).rows if len(row) == 3]
    curves = [
        ("ranking", ranking), ("best order", best), ("random order", chance),
        ("ranking", ranking / chance), ("best order", best / chance),
    ]  # fmt: skip
    expected = [[name, str(k + 1), number(float(points[k]))] for name, points in curves for k in range(8)]
    assert [row for row in rows if row[0] == "ranking" or row[0].endswith(" order")] == expected
    names = [attributes["id"] for _, attributes in Page(text).elements if "id" in attributes]
    assert len(names) == len(set(names))
