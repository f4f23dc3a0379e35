"""JSON lines: each line is one example or a bad record, whatever it holds; an oracle in plain Python says which."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import BAD, Feature, jsonl, open_source
from harness.errors import DataError

X = {"x": Feature("int64", ())}
GOOD = '{"x":7}\n' * 1024  # the first lines tell the types


def source(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source("jsonl", [str(path)])


def values(path, content, wanted=X, start=0, name="x"):
    """What is read where bad records are skipped: None for those."""
    opened = source(path, content)
    records = list(opened.select(wanted, skip=True).read(start, opened.files[0].examples, 4096))
    return [
        None if bad else value
        for record in records
        for value, bad in zip(record.raw[name].tolist(), record.raw[BAD], strict=True)
    ]


def message(path, content, wanted=X):
    opened = source(path, content)
    with pytest.raises(DataError) as caught:
        list(opened.select(wanted).read(0, opened.files[0].examples, 4096))
    return str(caught.value).removeprefix(f"{path}, ")


TWO_OR_NONE = {
    "two": ('{"x":1}{"x":100}\n{"x":1}\n', "line 0: expected one object, found 2", [None, 1]),
    "three": ('{"x":1}\n{"x":1} {"x":2}\t{"x":3}\n', "line 1: expected one object, found 3", [1, None]),
    "two and a line of blanks": ('{"x":1} {"x":2}\n \t\n{"x":3}\n', "line 0: expected one object, found 2", [None, None, 3]),
    "two and an object of two lines": ('{"x":1}{"x":2}\n{"x":\n3}\n', "line 0: expected one object, found 2", [None, None, None]),
    "blanks": ('{"x":1}\n   \n{"x":3}\n', "line 1: expected an object, found a line of blanks", [1, None, 3]),
    "blanks at the end": ('{"x":1}\n   ', "line 1: expected an object, found a line of blanks", [1, None]),
    "returns": ('{"x":1}\n\r\r\n{"x":3}\n', "line 1: expected an object, found a line of blanks", [1, None, 3]),
    "old line ends": ('{"x":1}\r{"x":2}\r', "line 0: expected one object, found 2", [None]),
    "objects in a list": ('{"x":1}{"x":2}\n{"x":3,"l":[\n{"x":4}]}\n', "line 0: expected one object, found 2", [None, None, None]),
}  # fmt: skip


@pytest.mark.parametrize("case", TWO_OR_NONE)
def test_a_line_without_exactly_one_object_is_a_bad_record(tmp_path, case):
    content, words, expected = TWO_OR_NONE[case]
    assert message(tmp_path / "x.jsonl", content).startswith(words)
    assert values(tmp_path / "x.jsonl", content) == expected


def test_blanks_around_objects_and_empty_lines_are_no_fault(tmp_path, monkeypatch):
    """None of them is read line by line."""
    monkeypatch.setattr(jsonl.JsonlSource, "_one_by_one", None)
    for content in (
        '{"x":1}\n{"x":2}',
        '{"x":1}\r\n{"x":2}\r\n',
        '\ufeff{"x":1}\n{"x":2}\n',
        '\n\r\n {"x":1} \n\n\r\n\t{"x":2}\t\r\n\r',
        '{"x":1,"s":"}\\n{"}\n{"x":2,"l":[{"x":3},{"x":4}]}\n',
    ):
        assert values(tmp_path / "x.jsonl", content) == [1, 2]


PARTS = ('{"x":%d}', '{"x":%d,"l":[{"x":0}]}', '{"x":%d,"l":[', '{"x":0}', "]}", "{", "}", ' "x"', ":%d", "\n", "\n", "\r\n", " ", "\t", "\0", '"')  # fmt: skip
MOSTLY = ('{"x":%d}', '{"x":%d}', '{"x":%d,"l":[', '{"x":%d}', "]}", "\n", "\n", "\n", " \n", "\r\n", " ")


@given(st.lists(st.sampled_from(PARTS), max_size=12) | st.lists(st.sampled_from(MOSTLY), max_size=24))
def test_whatever_lines_hold_each_is_its_own_object_or_a_bad_record(tmp_path_factory, parts):
    """Plain Python decodes line by line: rows that are misaligned with lines would have another line's number."""
    tail = "".join(part % number if "%d" in part else part for number, part in enumerate(parts))
    path = tmp_path_factory.getbasetemp() / "x.jsonl"
    assert values(path, GOOD + tail, start=1024) == [oracle(line) for line in tail.split("\n") if line not in ("", "\r")]


def oracle(line):
    try:
        found = json.loads(line.strip(" \t\r"))
    except ValueError:
        return None
    return found["x"] if isinstance(found, dict) and type(found.get("x")) is int else None


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
@pytest.mark.parametrize("at", [0, 1, 1100])
def test_deep_nesting_ends_no_process(tmp_path, opening, closing, at):
    """In the first lines it is refused, by line; behind them it is ignored where nobody reads it, else a bad record."""
    count = 200_000
    lines = ['{"x":1,"z":[]}'] * 1200
    lines[at] = '{"x":1,"z":' + opening * count + "1" + closing * count + "}"
    content = "\n".join(lines)
    if at < 1024:
        words = f'line {at}: expected a JSON object, found b\'{{"x":1,"z":'
        text = message(tmp_path / "x.jsonl", content)
        assert text.startswith(words)
        assert text.endswith(f"expected lists and objects at most 500 deep in each other, found {count * len(closing) + 1}")
        return
    assert values(tmp_path / "x.jsonl", content) == [1] * 1200
    lines[at] = '{"x":' + opening * count + "1" + closing * count + "}"
    assert message(tmp_path / "x.jsonl", "\n".join(lines)).startswith(f"line {at}: column 'x': expected int64 []")


def test_nesting_over_lines_is_counted_and_brackets_in_texts_are_not(tmp_path):
    opened = '{"x":1,"z":' + "\n".join(["[" * 400] * 100)
    closed = "\n".join(["]" * 400] * 100) + "}\n"
    assert message(tmp_path / "x.jsonl", '{"x":1}\n' + opened + "\n" + closed).startswith("line 1: expected a JSON object")
    shallow = '{"x":1,"z":"' + '[{\\"' * 9999 + '","y":' + "[" * 499 + "]" * 499 + "}\n"
    assert values(tmp_path / "x.jsonl", shallow) == [1]


TEXT = {"d": Feature("string", ())}


@pytest.mark.parametrize("date", ["2020-01-01", "2020-01-01 10:00:00", "2020-01-01T10:00:00Z"])
def test_texts_that_look_like_times_are_texts(tmp_path, date):
    content = f'{{"x":1,"d":"{date}","l":["{date}"]}}\n' * 1100 + '{"x":2,"d":"unknown","l":["none"]}\n'
    path = tmp_path / "x.jsonl"
    opened = source(path, content)
    assert opened.features() == {"x": Feature("int64", ()), "d": Feature("string", ()), "l": Feature("string", (1,))}
    assert values(path, content, opened.features(), name="d") == [date.encode()] * 1100 + [b"unknown"]
    assert values(path, content, opened.features(), name="l") == [[date.encode()]] * 1100 + [[b"none"]]


MIXED = {"x": Feature("int64", ()), "y": Feature("int64", ()), "d": Feature("string", ())}
WRONG = {
    "a fraction": ('{"x":1,"y":1.5,"d":"a"}', "column 'y': expected int64 []"),
    "a large number": ('{"x":1,"y":98765432109876543210,"d":"a"}', "column 'y': expected int64 []"),
    "a number for a text": ('{"x":1,"y":1,"d":5}', "column 'd': expected string []"),
    "a text for a number": ('{"x":1,"y":"1","d":"a"}', "column 'y': expected int64 []"),
    "nesting": ('{"x":1,"y":' + "[" * 9999 + "]" * 9999 + ',"d":"a"}', "column 'y': expected int64 []"),
    "no JSON": ('{"x":1,"y":1true,"d":"a"}', "JSON parse error"),
    "a boolean as a key": ('{"x":1,"y":1,true:1,"d":"a"}', "JSON parse error"),
    "null": ('{"x":1,"y":null,"d":"a"}', "column 'y': expected a value, found null or no such key"),
}


@pytest.mark.parametrize("other", ['{"x":1,"y":1,"d":"a"}', '{"x":true,"y":1,"d":"a"}'])
@pytest.mark.parametrize("case", WRONG)
def test_a_boolean_elsewhere_changes_no_message_and_no_line(tmp_path, case, other):
    line, words = WRONG[case]
    lines = ['{"x":1,"y":1,"d":"a"}'] * 1500
    lines[1350], lines[1400] = other, line
    content = "\n".join(lines)
    assert message(tmp_path / "x.jsonl", content, MIXED).startswith(f"line 1400: {words}")
    assert values(tmp_path / "x.jsonl", content, MIXED) == [1] * 1400 + [None] + [1] * 99


def test_booleans_are_numbers_or_texts_as_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl.JsonlSource, "_one_by_one", None)
    content = '{"b":true,"l":[true,false],"f":0.1,"d":"true"}\r\n{"l":[ false,true ],"d":"\\"false","b":false,"f":16777217}\n'
    wanted = {
        "b": Feature("int64", ()), "l": Feature("float32", (2,)), "f": Feature("float32", ()), "d": Feature("string", ())
    }  # fmt: skip
    path = tmp_path / "x.jsonl"
    for name, expected in {
        "b": [1, 0],
        "l": [[1, 0], [0, 1]],
        "d": [b"true", b'"false'],
        "f": [0.10000000149011612, 16777216],
    }.items():
        assert values(path, content, wanted, name=name) == expected
    assert values(path, content, {"b": Feature("string", ())}, name="b") == [b"true", b"false"]
    assert source(path, content).features()["b"] == Feature("int64", ())


def test_a_key_that_is_not_utf_8_is_named_in_the_first_lines_and_ignored_behind_them(tmp_path):
    path = tmp_path / "x.jsonl"
    spoiled = b'{"x":1,"\xff":1}\n'
    text = message(path, b'{"x":1,"t":"\xff"}\n' + spoiled)
    assert text.startswith("line 1: expected a JSON object") and "expected keys in UTF-8, found b'\\xff'" in text
    assert values(path, GOOD.encode() + spoiled, start=1024) == [1]


@given(st.lists(st.sampled_from([b"}", b"\n", b"{", b"}\n{", b"}\r\n{"]), max_size=30), st.integers(1, 9))
def test_occurrences_are_those_that_python_counts_wherever_parts_end(parts, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "PART", size)
        data = b"".join(parts)
        assert [jsonl._occurrences(data, gap) for gap in jsonl.GAPS] == [data.count(gap) for gap in jsonl.GAPS]
