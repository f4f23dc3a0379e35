"""The kits: data and weights that follow from ids alone, whole numbers that are exact, and what a digest is judged to be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.bench import kit_data
from harness.bench.keyed_noise import octets, small_integers, weights
from harness.bench.kit_check import State, judge, result_digest
from harness.bench.kit_digests import ANYWHERE, CONTENT, DIGESTS
from harness.bench.kit_hardware import instruction_set, kind_of_hardware, processor
from harness.bench.kits import CHECKED, KITS, kit
from harness.errors import UsageError

ROOT = Path(__file__).parents[2]
MASK = (1 << 64) - 1
KIND = "tensorflow 1, keras 1, numpy 1; a machine"


def splitmix(state: int) -> int:
    """The finalizer of SplitMix64 in Python's whole numbers, as in Steele, Lea and Flood, 2014."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & MASK
    return state ^ (state >> 31)


def drawn(seed: int, number: int, count: int) -> list[int]:
    golden = 0x9E3779B97F4A7C15
    state = splitmix(number ^ splitmix((seed + golden) & MASK))
    words = [splitmix((state + i * golden) & MASK) for i in range(1, -(-count // 8) + 1)]
    return [byte for word in words for byte in word.to_bytes(8, "little")][:count]


@pytest.mark.parametrize(("seed", "number", "count"), [(12, 0, 9), (12, 5, 16), (41, (1 << 31) - 1, 3)])
def test_noise_is_that_of_python_s_own_whole_numbers(seed, number, count):
    assert octets(seed, np.array([number]), count)[0].tolist() == drawn(seed, number, count)


def test_weights_are_multiples_of_a_power_of_two_and_bounded():
    array = weights(3, (64, 10), 0.125)
    assert array.dtype == np.float32 and (array * 2**14 % 1 == 0).all()
    assert -0.125 <= array.min() < -0.12 and 0.12 < array.max() < 0.125


@pytest.mark.parametrize("name", KITS)
def test_an_example_is_the_same_whoever_asks_for_it_with_which_others(name):
    reader = getattr(kit_data, name)()
    whole = [run for run in reader.read(0, 600)]
    (part,) = reader.read(301, 303)
    for feature, array in part.items():
        everything = np.concatenate([run[feature] for run in whole])
        assert len(everything) == 600 and (everything[301:303] == array).all() and everything.dtype == array.dtype


def whole_numbers() -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of the integer kit's first examples, in int64."""
    runs = list(kit_data.integer().read(0, CHECKED))
    x = np.concatenate([run["x"] for run in runs]).astype(np.int64)
    label = np.concatenate([run["label"] for run in runs])
    hidden = np.maximum(x @ (small_integers(65, np.arange(16), 64, 8) - 4), 0) // 8
    known = x @ (small_integers(62, np.arange(10), 16, 5) - 2).T
    return hidden @ (small_integers(66, np.arange(64), 10, 8) - 4) + 64 * known, label


def evaluate(harness, folder: Path, name: str) -> tuple[dict, dict]:
    (folder / "kit.yaml").write_text(yaml.safe_dump(KITS[name].job(CHECKED)))
    done = harness("evaluate", "kit.yaml", "-o", "run", "-q")
    assert done.code == 0, done.err
    return json.loads((folder / "run/metrics.json").read_text()), json.loads((folder / "run/run.json").read_text())


def test_the_kit_in_whole_numbers_is_what_int64_says_on_any_machine(harness, tmp_path):
    metrics, run = evaluate(harness, tmp_path, "integer")
    scores, label = whole_numbers()
    assert np.abs(scores).max() < 2**24
    assert metrics["metrics"]["accuracy"]["value"] == (scores.argmax(axis=1) == label).sum() / CHECKED
    judgement = judge(KITS["integer"], metrics, kind_of_hardware(run))
    assert (judgement.state, judgement.kind) == (State.KNOWN, "any"), judgement.message


@pytest.mark.parametrize("name", [name for name in KITS if name != "integer"])
def test_a_kit_is_not_wrong_on_this_machine(harness, tmp_path, name):
    metrics, run = evaluate(harness, tmp_path, name)
    kind = kind_of_hardware(run)
    judgement = judge(KITS[name], metrics, kind)
    assert judgement.state is (State.KNOWN if kind in DIGESTS else State.UNKNOWN), judgement.message
    metrics["metrics"][min(metrics["metrics"])]["value"] = 0.5
    assert judge(KITS[name], metrics, kind).state is not State.KNOWN


def result(name: str, **changes) -> dict:
    certificate = {"examples": CHECKED, "content_hash": CONTENT[name]} | changes
    return {"metrics": {"accuracy": {"value": 0.5}}, "certificate": certificate}


def test_a_digest_is_known_or_wrong_where_its_kind_is_listed_and_unknown_elsewhere(monkeypatch):
    digest = result_digest(result("vision"))
    monkeypatch.setitem(DIGESTS, KIND, {"vision": digest})
    assert judge(KITS["vision"], result("vision"), KIND).state is State.KNOWN
    elsewhere = judge(KITS["vision"], result("vision"), "another")
    assert elsewhere.state is State.UNKNOWN and f"it is the one of {KIND}" in elsewhere.message
    monkeypatch.setitem(DIGESTS, KIND, {"vision": "0" * 32})
    wrong = judge(KITS["vision"], result("vision"), KIND)
    assert wrong.state is State.WRONG and "expected digest 000" in wrong.message
    unlisted = judge(KITS["vision"], result("vision"), "another")
    assert unlisted.state is State.UNKNOWN and "no other kind" in unlisted.message


@pytest.mark.parametrize("changes", [{"content_hash": "0" * 16}, {"content_hash": None}, {"examples": CHECKED - 64}])
def test_other_data_are_wrong_even_where_the_kind_is_unknown(changes):
    assert judge(KITS["vision"], result("vision", **changes), "another").state is State.WRONG


def test_a_kit_in_whole_numbers_is_never_unknown():
    assert judge(KITS["integer"], result("integer"), "another").state is State.WRONG


def test_each_kit_has_its_digests():
    assert set(CONTENT) == set(KITS) and set(ANYWHERE) == {name for name in KITS if KITS[name].exact}
    assert all(set(digests) == set(KITS) - set(ANYWHERE) for digests in DIGESTS.values())


def test_the_page_publishes_the_digests_of_the_table():
    page = (ROOT / "docs/kits.md").read_text()
    for digests in (*DIGESTS.values(), ANYWHERE, CONTENT):
        assert not [digest for digest in digests.values() if digest not in page]
    assert not [kind for kind in DIGESTS if kind not in page]


def test_an_unknown_kit_names_the_nearest():
    with pytest.raises(UsageError, match=r"no kit 'visoin'.*vision"):
        kit("visoin")


CPUINFO = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nflags\t\t: sse4_1 avx avx2 fma avx512f avx512bw avx512vl avx512dq\n"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "GenuineIntel family 6 model 85 avx512_core L1 32K L2 1024K"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "GenuineIntel family 6 model 85 avx2 L1 32K L2 1024K"),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "GenuineIntel family 6 model 85 avx512_core L1 32K L2 1024K without oneDNN"),
    ],
)
def test_the_kind_of_a_processor(environ, expected, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert processor(CPUINFO, {"L1": "32K", "L2": "1024K"}, environ) == f"x86_64 {expected}"


def test_instruction_sets_need_all_their_flags():
    assert instruction_set(frozenset({"avx512f"})) == "none"
    amx = frozenset(
        [
            "sse4_1",
            "avx",
            "avx2",
            "fma",
            "avx512f",
            "avx512bw",
            "avx512vl",
            "avx512dq",
            "avx512_vnni",
            "avx512_bf16",
            "amx_tile",
            "amx_int8",
            "amx_bf16",
        ]
    )
    assert instruction_set(amx) == "avx512_core_amx" and instruction_set(amx - {"avx512_vnni"}) == "avx512_core_amx"


def test_a_run_on_gpus_or_elsewhere_is_another_kind(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "here")
    run = {
        "environment": {"tensorflow": "2", "keras": "3", "numpy": "1"},
        "attempts": [{"ranks": [{"host": "here", "devices": ["CPU"]}]}],
    }
    plain = kind_of_hardware(run)
    run["attempts"][0]["ranks"][0]["devices"] = ["GPU:0"]
    assert kind_of_hardware(run) == f"{plain}; on GPUs"
    run["attempts"][0]["ranks"].append({"host": "there", "devices": ["CPU"]})
    assert kind_of_hardware(run) == f"{plain}; on GPUs; also on other machines"
