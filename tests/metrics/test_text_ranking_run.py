"""Text, ranking, detection and retrieval metrics through whole runs: right values, the same bytes at any number of ranks."""

import json

import numpy as np
import pytest
import sacrebleu
import tensorflow as tf
import yaml
from sklearn.metrics import ndcg_score

from harness.metrics.text import TokenF1
from tests import made
from tests.conftest import command, over_ranks, start
from tests.metrics.sums import strings
from tests.metrics.test_detection import TWELVE, Images
from tests.metrics.test_text import CORPUS

EXAMPLES, ROOM, FOUND = 45, 4, 6
OUTPUTS = {
    "text": ((), tf.string), "score": ((), tf.float32), "embedding": ((3,), tf.float32), "found": ((FOUND, 4), tf.float32),
    "scores": ((FOUND,), tf.float32), "classes": ((FOUND,), tf.int64),
}  # fmt: skip
LABELS = {"references": ((2,), "string"), "relevance": ((), "int64"), "query": ((), "string"), "identity": ((), "int64"),
          "boxes": ((ROOM, 4), "float32"), "label_classes": ((ROOM,), "int64"), "crowd": ((ROOM,), "int64")}  # fmt: skip
METRICS = [
    {"bleu": {"output": "text", "label": "references"}},
    {"rouge": {"output": "text", "label": "references"}},
    {"token_f1": {"output": "text", "label": "references"}},
    {"ndcg": {"output": "score", "label": "relevance", "query": "query", "k": 5, "gain": "linear", "without_relevant": 0}},
    {"grouped_auc": {"output": "score", "label": "relevance", "query": "query"}},
    {"ranking_gains": {"output": "score", "label": "relevance", "query": "query", "depth": 6}},
    {"retrieval_recall": {"output": "embedding", "label": "identity", "query": "query"}},
    {"coco": {"output": "found", "scores": "scores", "classes": "classes", "label": "boxes", "label_classes": "label_classes",
              "crowd": "crowd", "box_format": "xywh"}},
]  # fmt: skip


def images():
    return Images(11, images=EXAMPLES, room=ROOM, found=FOUND, categories=3, ties=5)


def columns():
    """Every example as a dict of arrays; the model passes its own through."""
    draw, seen = np.random.default_rng(12), images()
    lines = [CORPUS[number % len(CORPUS)] for number in range(EXAMPLES)]
    return {
        "text": np.array([line[0].encode() for line in lines], dtype=object),
        "references": np.array([[text.encode() for text in line[1:]] for line in lines], dtype=object),
        "score": draw.permutation(EXAMPLES).astype(np.float32),
        "embedding": draw.normal(size=(EXAMPLES, 3)).astype(np.float32),
        "relevance": np.maximum(draw.integers(-1, 4, EXAMPLES), 0),
        "query": np.array([f"q{number}".encode() for number in draw.integers(0, 6, EXAMPLES)], dtype=object),
        "identity": draw.integers(0, 3, EXAMPLES),
        **{name: getattr(seen, name) for name in ("found", "scores", "classes", "boxes", "label_classes", "crowd")},
    }


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    signature = {name: tf.TensorSpec([None, *shape], dtype, name) for name, (shape, dtype) in OUTPUTS.items()}
    module = tf.Module()
    module.through = tf.function(lambda **given: {name: tf.identity(tensor) for name, tensor in given.items()})
    tf.saved_model.save(module, str(folder / "model"), module.through.get_concrete_function(**signature))
    given = columns()
    with tf.io.TFRecordWriter(str(folder / "data.tfrecord")) as writer:
        for number in range(EXAMPLES):
            writer.write(made.record({name: column[number] for name, column in given.items()}))
    shapes = {name: {"dtype": dtype, "shape": list(shape)} for name, (shape, dtype) in LABELS.items()}
    text = {
        "model": "model", "data": {"files": "data.tfrecord", "inputs": {name: name for name in OUTPUTS}, "features": shapes},
        "metrics": METRICS, "batch_size": 4, "chunk_size": 8,
    }  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump(text))
    return folder / "job.yaml"


@pytest.fixture(scope="module")
def alone(job, cli_server) -> bytes:
    """What one rank writes."""
    done = command(cli_server, job.parent, "evaluate", job, "-o", job.parent / "one")
    assert done.code == 0, done.text
    return (job.parent / "one" / "metrics.json").read_bytes()


def test_values_of_one_rank(alone):
    entries = json.loads(alone)["metrics"]
    found = {name: entry["value"] for name, entry in entries.items()}
    given = columns()
    lines = [CORPUS[number % len(CORPUS)] for number in range(EXAMPLES)]
    references = [[line[1] for line in lines], [line[2] or None for line in lines]]
    assert found["bleu"] == sacrebleu.corpus_bleu([line[0] for line in lines], references, force=True).score
    groups = [given["query"] == name for name in np.unique(given["query"])]
    expected = np.mean([ndcg_score([given["relevance"][g]], [given["score"][g]], k=5) for g in groups])
    assert found["ndcg"] == pytest.approx(expected, rel=1e-13)
    gains = [given["relevance"][g][np.argsort(-given["score"][g])] for g in groups]
    shares = [np.cumsum(y)[np.minimum(np.arange(6), len(y) - 1)] / y.sum() for y in gains if y.sum()]
    assert found["ranking_gains"]["columns"][:2] == ["k", "ranking"]
    assert [row[1] for row in found["ranking_gains"]["rows"]] == pytest.approx(np.mean(shares, axis=0).tolist(), rel=1e-13)
    assert [found["coco"][name] for name in TWELVE] == pytest.approx(images().oracle(area=False).stats.tolist(), rel=1e-13)
    each = [TokenF1().host_terms(strings([list(line[1:])]), strings([line[0]])).item() for line in lines]
    assert found["token_f1"] == pytest.approx(np.mean(each), rel=1e-14)
    assert entries["token_f1"]["standard_error"] == pytest.approx(np.std(each, ddof=1) / np.sqrt(EXAMPLES), rel=1e-12)
    assert 0 < found["retrieval_recall"] < 1 and 0 < found["grouped_auc"] < 1 and 0 < found["rouge"]["rougeL"] < 1


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_the_same_bytes_at_any_number_of_ranks(job, alone, ranks):
    run = job.parent / f"ranks{ranks}"
    done = start(over_ranks(ranks, "mpi", ["harness", "evaluate", job, "-o", run]), job.parent)
    assert done.code == 0, done.text
    assert (run / "metrics.json").read_bytes() == alone


def test_what_cannot_be_read_is_said_before_there_is_work(job, harness):
    text = yaml.safe_load(job.read_text())
    text["metrics"] = [{"bleu": {"output": "score", "label": "references"}}]
    other = job.parent / "wrong.yaml"
    other.write_text(yaml.safe_dump(text))
    done = harness("evaluate", other, "-o", job.parent / "wrong")
    assert done.code == 2
    assert "metric bleu: expected one string per example, [B], found output float32 [B]" in done.err
