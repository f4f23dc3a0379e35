"""Job files that are made to harm: bombs, depth, keys that stand twice. Refused at once, in one line that says where."""

from __future__ import annotations

import time

import pytest

from harness.errors import JobError
from harness.job.job import Job
from harness.job.yaml_text import parse

GOOD = "model: m\ndata: {files: a.npz, label: y}\nmetrics: [accuracy]\n"


def laughs(kind: str) -> str:
    """Nine levels of ten aliases each: a billion values."""
    lines = [f"a0: &a0 {'[x, x, x, x, x, x, x, x, x, x]' if kind == 'lists' else '{x: 1, y: 2}'}"]
    for level in range(1, 10):
        copies = ", ".join([f"*a{level - 1}"] * 10)
        if kind == "lists":
            lines.append(f"a{level}: &a{level} [{copies}]")
        elif kind == "mappings":
            keys = ", ".join(f"k{n}: *a{level - 1}" for n in range(10))
            lines.append(f"a{level}: &a{level} {{{keys}}}")
        else:
            lines.append(f"a{level}: &a{level} {{<<: [{copies}]}}")
    return "\n".join(lines) + "\n"


def refused(text: str, *words: str) -> str:
    begun = time.process_time()
    with pytest.raises(JobError) as caught:
        Job.from_dict(parse(text, "job.yaml"), where="job.yaml")
    message = str(caught.value)
    assert time.process_time() - begun < 5
    assert "\n" not in message and len(message) < 500
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("kind", ["lists", "mappings", "merges"])
def test_a_billion_laughs_are_refused_at_once(kind):
    refused(laughs(kind) + GOOD, "job.yaml, line ", "aliases stand for more than 10,000 values up to *a")


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "{a: " * 5000 + "1" + "}" * 5000,
                                  "\n".join(" " * n + f"k{n}:" for n in range(600)), "- " * 5000 + "x",
                                  "? " * 3000 + "x", "[" * 100_000])  # fmt: skip
@pytest.mark.parametrize("place", ["{}", "args: {}", "{}\n" + GOOD])
def test_deep_nesting_is_one_line(text, place):
    if text[0] not in "[{":  # a block stands on lines of its own
        place = place.removeprefix("args: ")
    refused(place.replace("{}", text), "job.yaml, line ", "nested more than 50 deep")


def test_what_contains_itself():
    refused("a: &a [*a]\n" + GOOD, "job.yaml, line 1: *a stands inside of what it stands for")
    refused("&a {b: *a}", "*a stands inside of what it stands for")


@pytest.mark.parametrize(
    "text, words",
    [
        ("metrics: [r2]\n" + GOOD, "job.yaml, line 4: the key 'metrics' stands in line 1 already; keep one of them"),
        ("data:\n  label: y\n  files: a\n  label: z\n", "job.yaml, line 4: the key 'label' stands in line 2 already"),
        ("metrics:\n- top_k: {k: 1, k: 2}\n", "line 2: the key 'k' stands in line 2 already"),
        ("1: a\n'1': b\n", "line 2: the key '1' stands in line 1 already"),
        ("yes: a\ntrue: b\n", "line 2: the key 'true' stands in line 1 already"),
        ('"se\\u0065d": 1\nseed: 2\n', "line 2: the key 'seed' stands in line 1 already"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", "line 4: the key '<<' stands in line 3 already"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(text, words):
    refused(text, words)


@pytest.mark.parametrize(
    "text, words",
    [
        ("[1, 2]: x", "line 1: expected a key of text, found something else"),
        ("2024-01-01: x", "line 1: expected a key of text"),
        ("seed: 2024-99-99", "a value is not what it seems to be"),
        ("seed: !!int ''", "a value is not what it seems to be"),
        ("seed: !!bool x", "a value is not what it seems to be"),
        ("seed: " + "9" * 5000, "a value is not what it seems to be"),
        ("seed: 0x" + "f" * 5000, "expected values that JSON can hold"),
        ("seed: !!python/object/apply:os.system ['true']", "line 1: not YAML: could not determine a constructor"),
        ("a: b: c", "line 1: not YAML: mapping values are not allowed here"),
        ("a: *nowhere", "line 1: not YAML: found undefined alias 'nowhere'"),
        ("--- a\n--- b\n", "not YAML: expected a single document"),
        ("a: \x00", "not YAML"),
        ("data: https://host/x?auth=hidden: [", "not YAML"),
    ],
)
def test_what_is_no_yaml_is_one_line_that_says_where(text, words):
    assert "hidden" not in refused(text, words)


def test_aliases_and_merges_of_an_honest_job_are_as_before():
    text = "common: &c {path: m, signature: s}\nmodels:\n  a: *c\n  b: {<<: *c, signature: t}\n"
    document = parse(text, "job.yaml")
    assert document["models"] == {"a": {"path": "m", "signature": "s"}, "b": {"path": "m", "signature": "t"}}
    # A mapping that is merged before it is built itself keeps what it overrides.
    nested = "x:\n  <<: &b {<<: &a {k: 1, l: 2}, k: 3}\n  k: 4\ny: *b\n"
    assert parse(nested, "job.yaml") == {"x": {"k": 4, "l": 2}, "y": {"k": 3, "l": 2}}
    files = "files: [" + ", ".join(f"part-{n}.npz" for n in range(20_000)) + "]"
    assert len(parse(files, "job.yaml")["files"]) == 20_000


@pytest.mark.parametrize(
    "override, words",
    [
        ("model.args=" + "[" * 5000, "--set model.args, line 1: lists and mappings are nested more than 50 deep"),
        ("data={label: y, label: z}", "--set data, line 1: the key 'label' stands in line 1 already"),
        ("model.args." + ".".join("a" * 5000) + "=1", "keys are nested more than 50 deep"),
        ("seed=2024-99-99", "--set seed: not YAML: a value is not what it seems to be"),
    ],
)
def test_values_of_set_are_bounded_alike(override, words):
    with pytest.raises(JobError) as caught:
        Job.from_dict(parse(GOOD, "job.yaml"), overrides=[override])
    assert words in str(caught.value) and len(str(caught.value)) < 500


def test_a_job_from_python_is_bounded_alike():
    loop: list[object] = []
    loop.append(loop)
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    for args in (loop, deep, {("a", "b"): 1}):
        with pytest.raises(JobError, match="JSON can hold|nested more than 50 deep"):
            Job.from_dict({"model": {"python": "a:b", "args": {"x": args}}, "data": {"files": "a.npz"}, "metrics": ["accuracy"]})
