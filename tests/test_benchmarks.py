"""The benchmarks' own arithmetic: targets, the page, the simulated world. Nothing is timed here."""

import dataclasses
import json
import re
import subprocess
import sys

import pytest

from benchmarks import check, gloo, indexing, jobs, metadata, report, simulate, watching
from benchmarks.__main__ import ASKED, QUESTIONS, parser
from benchmarks.job_cases import JOBS
from benchmarks.job_peers import PEERS
from benchmarks.quiet import without_library_lines
from benchmarks.targets import TARGETS, met
from benchmarks.worker import compare
from harness.job.job import Job
from harness.plan.plan import default_chunk_size
from harness.ranks.comm import SingleComm

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


def test_what_make_bench_asks_can_be_asked():
    for name, forms in ASKED.items():
        for arguments in forms:
            assert parser().parse_args([name.partition("-")[0], *arguments]).question in QUESTIONS


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
    assert page.count("<svg") == 2 and page.count("&lt;2") == 2  # a loop and a reduction, each with its table
    assert "Raw values: loop-20260102T000000Z.json." in page and "not reached" in page
    assert "src=" not in page and not re.search(r"href=.(?!data:|#)", page)


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


def test_what_a_world_asks_of_the_file_system_is_counted():
    """Real files, made-up time: sixty ranks stay under fifty operations a second, also without datagrams."""
    world = metadata.count(60)
    assert [part.purpose for part in world.asked] == ["heartbeats", "requests to stop", "journal"]
    assert all(part.mean > 1 for part in world.asked)
    assert world.beats_alone.mean > world.asked[0].mean + 5  # files of others are read
    assert world.all.busiest < 50 and world.all_alone.busiest < 50
    assert "| 60 |" in metadata.table([world])


def test_what_being_watched_costs_is_measured():
    """The real heartbeat, rank 0 of one and of fifty whose notices come over a socket. The bounds are far, for a busy machine."""
    alone, many = (watching.measure(ranks, 1.5) for ranks in (1, 50))
    assert 0 < alone.watched[0] < 0.05 and alone.without[0] < alone.watched[0] < many.watched[0] < 0.2
    assert 400 < alone.file_bytes < 3000 and many.file_bytes > 40 * 400  # all of them were heard
    assert "| 50 |" in watching.table([many])


def test_a_world_is_simulated_with_the_harness_s_own_parts():
    found = simulate.measure(ranks=16, examples=200_000)
    assert found.chunks == 261
    assert found.sum_bytes == 8 * (simulate.STATE + 8 * 261)
    assert set(found.seconds) >= {"plan", "union of the journals", "all hashes"}


def test_what_sparse_files_are_said_to_hold_is_what_a_job_opens(tmp_path, monkeypatch):
    """Ten thousand records a file, of which no byte is written."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    records = 10_000 * indexing.FILES
    indexing._prepare(tmp_path, records)
    whole = indexing._open(SingleComm(), tmp_path, records, None)
    assert whole.chunks == -(-records // default_chunk_size(records, 64))
    part = indexing._open(SingleComm(), tmp_path, records, 0.01)
    assert 0 < part.chunks < whole.chunks and not sum(path.stat().st_blocks for path in tmp_path.glob("*.tfrecord"))
    found = dataclasses.replace(whole, ranks=[indexing.Memory(10**6, 2 * 10**6, 8 * 10**6, 4 * 10**6)] * 2, index_bytes=8 * 10**6)
    assert " | 8.0 | 8.0 | 8.0 | 1.0 | 2.0 |" in indexing.table([found])


def test_each_of_the_common_jobs_has_a_peer_and_is_a_job(tmp_path):
    assert JOBS.keys() == PEERS.keys() == jobs.BESIDE.keys()
    for case in JOBS.values():
        assert Job.from_dict(case.job(tmp_path)).batch_size == case.batch_size


def test_a_job_is_compared_within_its_rounds():
    seconds, cpu_seconds = {"harness": [1.0, 2.0, 4.0], "peer": [3.0, 4.0, 2.0]}, {"harness": [1.0] * 3, "peer": [0.5] * 3}
    measured = jobs.Measured("text", 100, seconds, cpu_seconds, {})
    assert (measured.ratio, measured.cpu_ratio) == (2.0, 0.5)
    assert jobs.table([measured]).endswith("| text | keras evaluate over tf.data | 50 | 33 | 2.00 | 0.50 |")


@pytest.mark.parametrize("value", [0.9, float("nan")])
def test_legs_that_report_unlike_values_are_not_compared(value):
    compare({"harness": {"accuracy": 0.5, "f_beta": 0.1}, "peer": {"accuracy": 0.50001}})
    with pytest.raises(RuntimeError, match=f"accuracy: the harness reports 0.5, peer reports {value}"):
        compare({"harness": {"accuracy": 0.5}, "peer": {"accuracy": value}})


HELD = {"loop/convnet/over keras": 1.5, "loop/convnet/over bare": 0.95, "readers/csv/over plain": 0.8}


def held(folder):
    path = folder / "ratios.json"
    check.record([HELD, {name: ratio * 0.9 for name, ratio in HELD.items()}, HELD], path)
    return path


def test_noise_is_taken_from_what_was_measured(tmp_path):
    found, _ = check.load(held(tmp_path))
    assert found["loop/convnet/over keras"] == check.Held(1.5, 0.15, (1.5, 1.35, 1.5))  # 1.5 times a tenth
    check.record([{"loop/convnet/over keras": 2.0}], tmp_path / "ratios.json")
    found, _ = check.load(tmp_path / "ratios.json")
    assert found["loop/convnet/over keras"] == check.Held(2.0, check.FLOOR, (2.0,))
    assert found["readers/csv/over plain"].ratio == 0.8  # not measured again, so kept


@pytest.mark.parametrize(
    ("found", "fallen"),
    [
        ({"loop/convnet/over keras": 1.28, "loop/convnet/over bare": 0.95}, []),
        ({"loop/convnet/over keras": 1.27, "loop/convnet/over bare": 0.95}, ["loop/convnet/over keras"]),
        ({"loop/convnet/over keras": 9.0}, ["loop/convnet/over bare"]),  # of the same group, and was not measured
        ({"loop/convnet/over keras": 1.5, "loop/convnet/over bare": float("nan")}, ["loop/convnet/over bare"]),
        ({"readers/csv/over plain": 0.8}, []),  # other groups were not asked for
    ],
)
def test_the_check_fails_on_a_document_with_a_fallen_ratio(tmp_path, found, fallen):
    _, where = check.load(held(tmp_path))
    document = {"environment": where, "best": found, "measured": [found]}
    (tmp_path / "earlier.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "benchmarks", "--results", str(tmp_path / "results"), "check"]
    command += ["--held", str(tmp_path / "ratios.json"), "--document", str(tmp_path / "earlier.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if fallen else 0), done.stderr
    assert done.stderr.endswith(f"fallen by more than their noise: {', '.join(fallen)}\n" if fallen else "")
    assert done.stdout.count("FALLEN") == len(fallen)


def test_on_another_kind_of_machine_twice_the_noise_is_allowed(tmp_path):
    ratios, _ = check.load(held(tmp_path))
    found = {"loop/convnet/over keras": 1.1, "loop/convnet/over bare": 0.95}
    assert [one.fallen for one in check.judge(found, ratios, alike=False)] == [False, False]
    assert [one.name for one in check.judge(found, ratios, alike=True) if one.fallen] == ["loop/convnet/over keras"]


def test_what_fell_is_measured_again_and_only_that(tmp_path, monkeypatch):
    asked = []

    def group(name, *ratios):
        left = iter(ratios)

        def measured(folder):
            asked.append(name)
            return {"over": next(left)}

        return measured

    ratios = {f"{name}/over": check.Held(1.0, 0.1, ()) for name in "abc"}
    monkeypatch.setattr(check, "FULL", {"a": group("a", 1.0), "b": group("b", 0.5, 0.95), "c": group("c", 0.5, 0.6, 0.7)})
    best, every = check.measure_until_sure("abc", tmp_path, ratios, alike=True)
    assert asked == ["a", "b", "c", "b", "c", "c"]
    assert best == {"a/over": 1.0, "b/over": 0.95, "c/over": 0.7}
    assert [one.name for one in check.judge(best, ratios) if one.fallen] == ["c/over"]
    assert len(every) == 3


def test_what_is_held_is_what_the_short_form_measures():
    ratios, _ = check.load()
    assert set(check.SHORT) <= {name.rpartition("/")[0] for name in ratios} <= set(check.FULL)


def test_torchmetrics_has_to_report_the_same_of_every_example():
    own = {"accuracy": {"value": 0.5}, "cross_entropy": {"value": 1.25}}
    assert gloo.compare(own, {"accuracy": 0.5}, 10, 10) == {"accuracy": (0.5, 0.5)}
    with pytest.raises(RuntimeError, match="counted 9 of 10"):
        gloo.compare(own, {"accuracy": 0.5}, 9, 10)
    for other in (1.2502, float("nan")):
        with pytest.raises(RuntimeError, match=r"cross_entropy: the harness reports 1.25, TorchMetrics"):
            gloo.compare(own, {"cross_entropy": other}, 10, 10)


def test_what_libraries_write_is_left_out_and_all_else_shown(capfd):
    told = "import os; os.write(2, b'WARNING: All log messages before absl::Init\\nI0000 00:00:1.0 port.cc\\nwrong\\n')"
    with without_library_lines():
        subprocess.run([sys.executable, "-c", told], check=True)
        print("of its own", file=sys.stderr, flush=True)
    print("after", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "wrong\nof its own\nafter\n"
