"""Features that are not simply values: variable, sequence, sparse, ragged, images; made ones; parts of the examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from harness.data import BAD, ID, KEEP, Feature, Kind
from harness.data.derive import DerivedSource
from harness.data.memory import from_arrays
from harness.data.partial import PartialSource
from harness.data.tfrecord import TFRecordSource
from harness.errors import DataError, JobError
from harness.exact.splitmix import hash_ids
from harness.plan.drawn import Drawn
from harness.plan.plan import Chunk
from harness.ranks.share import FixedShare
from harness.step.pipeline_feed import PipelineFeed
from tests import made


def ints(*values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def floats(*values):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def texts(*values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def save(path, *records):
    return str(made.write_tfrecord(path, [record.SerializeToString() for record in records]))


def example(**features):
    return tf.train.Example(features=tf.train.Features(feature=features))


def parsed(source, wanted, start=0, stop=None, skip=False):
    """What a pipeline would get, as lists."""
    chosen = source.select(wanted, skip=skip)
    records = next(iter(chosen.read(start, stop or sum(f.examples for f in source.files), 100)))
    raw = {name: tf.constant(array) for name, array in records.raw.items()}
    bad = raw.pop(BAD, None)
    found = {name: tensor.numpy().tolist() for name, tensor in chosen.parse(raw, wanted).items()}
    return found if bad is None else (found, bad.numpy().tolist())


@pytest.fixture
def varied(tmp_path):
    return TFRecordSource.open(
        [
            save(
                tmp_path / "v.tfrecord",
                example(n=ints(1, 2), t=texts(b"a"), at=ints(3), v=floats(9), flat=ints(5, 6, 7), rows=ints(2, 1)),
                example(n=ints(), t=texts(b"b", b"c"), at=ints(0, 2), v=floats(1, 2), flat=ints(8), rows=ints(1)),
                example(n=ints(4, 5, 6), at=ints(), v=floats(), flat=ints(), rows=ints()),
            )
        ]
    )


def test_lengths_that_differ_are_inferred_as_unknown(varied):
    assert varied.features()["n"] == Feature("int64", (None,))


def test_values_of_any_length_are_padded(varied):
    wanted = {
        "n": Feature("int64", (4,), Kind.VARIABLE, -1),
        "t": Feature("string", (2,), Kind.VARIABLE, "-"),
        "sparse": Feature("float32", (4,), Kind.SPARSE, keys=("at", "v")),
        "ragged": Feature("int64", (2, 3), Kind.RAGGED, 0, ("flat", "rows")),
    }
    assert parsed(varied, wanted) == {
        "n": [[1, 2, -1, -1], [-1, -1, -1, -1], [4, 5, 6, -1]],
        "t": [[b"a", b"-"], [b"b", b"c"], [b"-", b"-"]],
        "sparse": [[0, 0, 0, 9], [1, 0, 2, 0], [0, 0, 0, 0]],
        "ragged": [[[5, 6, 0], [7, 0, 0]], [[8, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]],
    }


@pytest.mark.parametrize(
    "feature, words",
    [
        (Feature("int64", (2,), Kind.VARIABLE, 0), "record 2 at byte .*: feature 'n': expected at most 2 values, found 3"),
        (Feature("int64", (2, 1), Kind.RAGGED, 0, ("flat", "rows")), "record 0 at byte 0: feature 'n': expected int64"),
        (Feature("float32", (3,), Kind.SPARSE, keys=("at", "v")), "record 0 at byte 0: feature 'n': expected float32"),
    ],
)
def test_more_values_than_the_shape_are_refused_and_the_record_named(varied, feature, words):
    with pytest.raises((tf.errors.OpError, ValueError)):
        parsed(varied, {"n": feature})
    found = varied.explain(0, 3, {"n": feature})
    assert found is not None
    with pytest.raises(DataError, match=words):
        raise DataError(found)


def test_sequence_examples(tmp_path):
    def record(label, *steps):
        lists = tf.train.FeatureLists(feature_list={"frames": tf.train.FeatureList(feature=[floats(*step) for step in steps])})
        return tf.train.SequenceExample(context=tf.train.Features(feature={"label": ints(label)}), feature_lists=lists)

    source = TFRecordSource.open([save(tmp_path / "s.tfrecord", record(1, (1, 2), (3, 4)), record(2, (5, 6)))])
    assert source.features() == {"frames": Feature("float32", (None, 2), Kind.SEQUENCE), "label": Feature("int64", (1,))}
    wanted = {"frames": Feature("float32", (3, 2), Kind.SEQUENCE, -1), "label": Feature("int64", ())}
    assert parsed(source, wanted) == {
        "frames": [[[1, 2], [3, 4], [-1, -1]], [[5, 6], [-1, -1], [-1, -1]]],
        "label": [1, 2],
    }
    short = {"frames": Feature("float32", (1, 2), Kind.SEQUENCE, -1)}
    assert "record 0 at byte 0: feature list 'frames': expected at most 1 steps, found 2" in source.explain(0, 2, short)


def test_images_are_decoded_and_resized(tmp_path):
    small = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    large = np.full([8, 8, 3], 77, np.uint8)
    source = TFRecordSource.open(
        [
            save(
                tmp_path / "i.tfrecord",
                *(
                    example(image=texts(data))
                    for data in (tf.io.encode_png(small).numpy(), tf.io.encode_jpeg(large).numpy(), b"no image")
                ),
            )
        ]
    )
    wanted = {"image": Feature("float32", (2, 3, 3), Kind.IMAGE)}
    assert parsed(source, wanted, 0, 2)["image"] == [small.tolist(), np.full([2, 3, 3], 77).tolist()]
    found, bad = parsed(source, wanted, skip=True)
    assert (bad, found["image"][0]) == ([False, False, True], small.tolist())
    assert "record 2 at byte" in source.explain(0, 3, wanted)


def test_bad_records_are_marked_and_keep_their_ids(tmp_path):
    good = [example(a=ints(i)) for i in range(6)]
    path = save(tmp_path / "b.tfrecord", *good[:3], example(a=ints(1, 2)), example(b=ints(1)), *good[3:])
    made.flip(tmp_path / "b.tfrecord", made.record_offsets(tmp_path / "b.tfrecord")[1] + 14)
    source = TFRecordSource.open([path]).select({"a": Feature("int64", ())}, skip=True)
    records = list(source.read(0, 8, 3))
    assert [r.ids.tolist() for r in records] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [r.raw[BAD].tolist() for r in records] == [[False, True, False], [True, True, False], [False, False]]
    only_bad = next(iter(source.read(3, 5, 2)))
    assert only_bad.raw[BAD].tolist() == [True, True]
    assert source.parse({"serialized": tf.constant(only_bad.raw["serialized"])}, {"a": Feature("int64", ())})["a"].shape == [2]


OWN = """
import tensorflow as tf
def double(features): return {**features, "twice": 2 * features["a"], "wide": tf.stack([features["b"], features["b"]], 1)}
def small(features): return features["a"] < 3
def odd(features):
    n = features["a"]
    while tf.reduce_max(n) < 20:
        n = 2 * n
    if tf.reduce_sum(n) > 70:
        n += 1
    return {**features, "twice": n}
def wrong(features): return {"a": features["c"]}
def none(features): return None
def no_mask(features): return features["a"]
half, more = (lambda features: {**features, "twice": features["a"] // 2}), (lambda features: {**features, "twice": features["a"] + 1})
"""


@pytest.fixture
def derived(tmp_path):
    """A source of a, b, c: int64, float32, string; what is derived of it."""
    path = save(
        tmp_path / "d.tfrecord", *(example(a=ints(i), b=floats(i / 2), c=texts(b"xy"[i % 2 : i % 2 + 1])) for i in range(6))
    )
    (tmp_path / "derived_own.py").write_text(OWN)
    source = TFRecordSource.open([path])

    def make(transform=None, filter=None, asked=None, columns=None):
        named = {key: f"derived_own:{value}" if value else None for key, value in (("transform", transform), ("filter", filter))}
        return DerivedSource(
            source, declared={}, columns=columns or {}, asked=dict.fromkeys(asked or (), "data.label"), folder=tmp_path, **named
        )

    return make


def test_a_transform_makes_features(derived):
    source = derived("double")
    assert source.features()["wide"] == Feature("float32", (2,))


def test_a_wide_table_is_traced_once_and_only_what_is_wanted_is_made(monkeypatch):
    """What a step costs to build is linear in the number of columns."""
    names = [f"c{number}" for number in range(60)]
    source = from_arrays({name: np.arange(4, dtype=np.int64) for name in names})[0]
    wide = {"x": names, **{f"pair {name}": [name, "c0"] for name in names}}
    derived = DerivedSource(
        source, declared={}, columns=wide, transform=None, filter=None, asked={"c1 + c2": "data.label"}, folder=Path()
    )
    traces = []
    trace = DerivedSource._trace
    monkeypatch.setattr(DerivedSource, "_trace", lambda *args: traces.append(args) or trace(*args))
    wanted = {"pair c7": Feature("float32", (2,)), "c1 + c2": Feature("int64", ())}
    selected = derived.select(wanted)
    assert derived.reads(wanted) == {"c0", "c7", "c1", "c2"} and len(derived.features()) == 1 + 2 * 60 + 1

    def parsed(raw):
        return selected.parse(raw, wanted)

    graph = tf.function(parsed).get_concrete_function({name: tf.TensorSpec([4], tf.int64) for name in ("c0", "c7", "c1", "c2")})
    assert len(traces) == 1
    assert not [op for op in graph.graph.get_operations() if op.type == "Fill"] and len(graph.graph.get_operations()) < 40


def test_a_transform_may_branch_and_loop_over_tensors(derived):
    feed = PipelineFeed(derived("odd").select({"twice": Feature("int64", ())}), {"twice": Feature("int64", ())}, 6, 1)
    feed.open(FixedShare([Chunk(0, 0, 6)]))
    (batch,) = feed.dataset
    assert batch["features"]["twice"].numpy().tolist() == [0, 4, 8, 12, 16, 20]


def test_a_transform_whose_source_is_ambiguous_is_used_as_it_is(derived):
    assert parsed(derived("more"), {"twice": Feature("int64", ())}) == {"twice": [1, 2, 3, 4, 5, 6]}


def test_what_a_transform_makes_is_parsed_and_nothing_else_read(derived):
    source = derived("double", "small")
    wanted = {"twice": Feature("int64", ())}
    found = parsed(source, wanted)
    assert found == {"twice": [0, 2, 4, 6, 8, 10], KEEP: [True, True, True, False, False, False]}
    assert list(source._base(wanted)) == ["a"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a > 2", [0, 0, 0, 1, 1, 1]),
        ("b > 0.2 * a", [0, 1, 1, 1, 1, 1]),
        ("1 <= a < 3", [0, 1, 1, 0, 0, 0]),
        ("not a", [1, 0, 0, 0, 0, 0]),
        ("c == 'x' and a", [0, 0, 1, 0, 1, 0]),
        ("c in ('y', 'z')", [0, 1, 0, 1, 0, 1]),
        ("a / 2", [0, 0.5, 1, 1.5, 2, 2.5]),
        ("a // 2 + a % 2", [0, 1, 1, 2, 2, 3]),
        ("-a if a > 3 else max(a, 2)", [2, 2, 2, 3, -4, -5]),
        ("sqrt(feature('a') ** 2)", [0, 1, 2, 3, 4, 5]),
        ("int(b)", [0, 0, 1, 1, 2, 2]),
        ("10 ** 10 ** 10 > a", [1] * 6),
        ("a + 2 ** 62", [float(2**62)] * 6),
    ],
)
def test_expressions(derived, text, expected):
    source = derived(asked=[text])
    feature = source.features()[text]
    assert parsed(source, {text: feature})[text] == expected


@pytest.mark.parametrize(
    "text, words",
    [
        ("__import__('os').system('true')", "is not allowed in an expression"),
        ("a.b", "'a.b' is not allowed"),
        ("a[0]", "'a[0]' is not allowed"),
        ("(lambda: a)()", "is not allowed"),
        ("[x for x in a]", "is not allowed"),
        ("f'{a}'", "is not allowed"),
        ("a is b", "is not allowed"),
        ("1j * a", "is not allowed"),
        ("9223372036854775808 > a", "is not allowed"),
        ("max(a)", "is not allowed"),
        ("a >", "neither a feature nor an expression"),
        ("a > aa", "reads 'aa', which is none: did you mean 'a'"),
        ("c > 1", "has a string beside a number"),
        ("c + 1", "'c' is a string, expected a number"),
        ("(" * 60 + "a" + ")" * 60 + "+1" * 60, "nested more than 50 deep"),
        ("a" + "+1" * 1000, "at most 1000 characters"),
    ],
)
def test_expressions_that_are_refused(derived, text, words):
    with pytest.raises(JobError) as caught:
        derived(asked=[text]).features()
    assert words in str(caught.value)


def test_a_function_that_cannot_be_converted_is_taken_as_it_is_without_a_word(derived, monkeypatch):
    warnings = []
    monkeypatch.setattr(tf.get_logger(), "handle", warnings.append)
    assert derived(transform="half").features()["twice"] == Feature("int64", ())
    assert warnings == []


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"transform": "wrong", "columns": {"w": ["a", "z"]}}, "data.features.w.columns: the data has no feature 'z'"),
        ({"transform": "none"}, "data.transform: derived_own:none returned a NoneType, expected a dictionary of features"),
        ({"transform": "nothing"}, "derived_own has no 'nothing'"),
        ({"filter": "no_mask"}, "data.filter: derived_own:no_mask returned int64 [None], expected bool [B]"),
    ],
)
def test_functions_that_are_wrong(derived, keys, words):
    with pytest.raises(JobError) as caught:
        derived(**keys).features()
    assert words in str(caught.value)


def test_columns_side_by_side(derived):
    source = derived(columns={"w": ["b", "a"]})
    assert source.features()["w"] == Feature("float32", (2,))
    assert parsed(source, {"w": Feature("float32", (2,))}, 1, 3)["w"] == [[0.5, 1.0], [1.0, 2.0]]


def test_a_part_is_drawn_by_hash_and_hands_out_its_own_ids(tmp_path):
    path = save(tmp_path / "p.tfrecord", *(example(a=ints(i)) for i in range(50)))
    source = TFRecordSource.open([path, save(tmp_path / "q.tfrecord", *(example(a=ints(50 + i)) for i in range(950)))])
    ids = Drawn([50, 950], 0.1, None)[:]
    assert ids.tolist() == [i for i in range(1000) if int(hash_ids(np.array([i]))[0]) < 0.1 * 2**64]
    part = PartialSource(source, 0.1, None)
    assert sum(f.examples for f in part.files) == len(ids) and part.files[0].examples == int((ids < 50).sum())
    records = [r for start in range(0, len(ids), 30) for r in part.read(start, min(start + 30, len(ids)), 7)]
    assert np.concatenate([r.ids for r in records]).tolist() == ids.tolist()
    values = [
        part.parse({"serialized": tf.constant(r.raw["serialized"])}, {"a": Feature("int64", ())})["a"].numpy() for r in records
    ]
    assert np.concatenate(values).tolist() == ids.tolist()
    assert ID not in records[0].raw
