"""The part of the examples that is drawn: the same as all ids, hashed at once, and not kept as ids."""

from __future__ import annotations

import itertools
import json
import pickle

import numpy as np
import pytest

from harness.exact.splitmix import hash_ids
from harness.plan import drawn as module
from harness.plan.drawn import Drawn
from harness.plan.plan import File, Plan

SIZES = [5, 0, 130, 64, 1, 500]


@pytest.mark.parametrize("share", [None, 1.0, 0.5, 0.03, 1e-12])
@pytest.mark.parametrize("limit", [None, 0, 1, 17, 10_000])
def test_what_is_drawn_is_what_hashing_all_ids_gives(share, limit, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 32)
    ids = np.arange(sum(SIZES))
    if share not in (None, 1.0):
        ids = ids[[int(h) < int(share * 2.0**64) for h in hash_ids(ids)]]
    ids = ids[:limit]
    drawn = Drawn(SIZES, share, limit)
    assert len(drawn) == len(ids) and drawn[:].tolist() == ids.tolist()
    bounds = np.cumsum([0, *SIZES])
    assert drawn.by_file.tolist() == [int(((ids >= a) & (ids < b)).sum()) for a, b in itertools.pairwise(bounds)]
    for start in range(0, len(ids), 7):
        assert drawn[start : start + 40].tolist() == ids[start : start + 40].tolist()
    assert drawn[len(ids) : len(ids) + 5].tolist() == []
    again = pickle.loads(pickle.dumps(drawn))
    assert again[:].tolist() == ids.tolist()


def test_nothing_of_it_grows_with_what_is_drawn():
    few, many = (len(pickle.dumps(Drawn([examples], 0.5, None))) for examples in (100_000, 1_000_000))
    assert many - few < 900_000 / module.BLOCK * 16 + 100


def test_the_plan_hashes_what_is_drawn():
    drawn = Drawn([100_000], 0.5, None)
    files = (File("a", 0, len(drawn)),)
    lazy, kept = Plan(files, 8, 1000, drawn), Plan(files, 8, 1000, drawn[:])
    assert np.array_equal(lazy.id_hashes(0, len(lazy)), kept.id_hashes(0, len(kept)))
    for plan in (lazy, kept):
        again = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
        assert again == plan and np.array_equal(again.id_hashes(0, len(lazy)), kept.id_hashes(0, len(kept)))
    assert len(json.dumps(lazy.to_dict())) < 300
