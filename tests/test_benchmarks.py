"""The benchmarks' own arithmetic: targets, the page, the simulated world. Nothing is timed here."""

import json

import pytest

from benchmarks import report, simulate
from benchmarks.targets import TARGETS, met

ENVIRONMENT = {"platform": "p", "processor": "c", "cores": 2, "python": "3", "versions": {"tensorflow": "1"}, "load": [0.5, 0, 0]}


def document(question, **more):
    return {"question": question, "environment": ENVIRONMENT, "table": "| a | b |\n| --- | --- |\n| 1 | <2 |", **more}


def reduction(seconds):
    run = {"ranks": 2, "seconds": [{"reduce": 0.002}, {"reduce": 0.001}]}
    many = {"ranks": 2, "seconds": [{"reduce": 0.003}, {"reduce": 0.004}]}
    ours = {"8192": seconds, "33554432": [0.2, 0.3, 0.25]}
    return document("reduction", reduction={"ours": ours, "bare": ours, "ratio": {"33554432": 1.25}}, few=[run], many=[many])


def loop(ratio):
    case = {"case": {"name": "dense-784-512-10"}, "limit": "bare", "examples_per_s": {"harness": 2.0, "bare": 1.0}}
    return document("loop", cases=[{**case, "harness_over": {"bare": ratio, "keras": 2.0}}])


def write(folder, *documents):
    for number, one in enumerate(documents):
        (folder / f"{one['question']}-2026010{number}T000000Z.json").write_text(json.dumps(one))


def test_a_target_is_reached_not_reached_or_not_measured():
    said = {
        one.target.text: (one.found, one.verdict)
        for one in met({"loop": loop(0.9), "reduction": reduction([0.004, 0.002, 0.001])})
    }
    assert said["one rank / bare forward loop, dense 784-512-10 in memory"] == (0.9, "not reached")
    assert said["one rank / keras evaluate, dense 784-512-10"] == (2.0, "reached")
    assert said["sum of a small state (under 1 MB), ms"] == (2.0, "reached")
    assert said["50 metrics instead of 5, the final reduction"] == (2.0, "not reached")
    assert said["sum of 32 MB / MPI_Allreduce"] == (1.25, "reached")
    assert said["harness --help, s"] == (None, "not measured")
    assert len(said) == len(TARGETS)


def test_the_page_holds_the_newest_of_each_question_and_needs_no_other_file(tmp_path):
    write(tmp_path, loop(0.5), reduction([0.001] * 3), loop(0.99))
    documents = report.load(tmp_path)
    assert documents["loop"]["cases"][0]["harness_over"]["bare"] == 0.99
    text = report.markdown(documents)
    assert "| one rank / bare forward loop, dense 784-512-10 in memory | at least 0.95 | 0.99 | reached |" in text
    page = report.page(documents)
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "<td>&lt;2</td>" in page
    assert "http" not in page.replace("http-equiv", "")


def test_unlike_environments_are_refused(tmp_path):
    other = {**reduction([0.001] * 3), "environment": {**ENVIRONMENT, "cores": 4}}
    write(tmp_path, loop(0.9), other)
    with pytest.raises(report.UnlikeError, match=r"reduction-20260101T000000Z.json and loop-.* differ in cores: measure"):
        report.load(tmp_path)


def test_the_model_of_an_allreduce_finds_latency_and_bandwidth_again():
    sizes = [8 << 10, 1 << 20, 32 << 20]
    latency_s, byte_s = simulate.fit(sizes, [simulate.allreduce_s(2, size, 3e-6, 2e-10) for size in sizes])
    assert latency_s == pytest.approx(3e-6, rel=1e-9)
    assert byte_s == pytest.approx(2e-10, rel=1e-9)


def test_a_world_is_simulated_with_the_harness_s_own_parts():
    found = simulate.measure(ranks=16, examples=200_000)
    assert found.chunks == 261
    assert found.sum_bytes == 8 * (simulate.STATE + 6 * 261)
    assert set(found.seconds) >= {"plan", "union of the journals", "all hashes"}
