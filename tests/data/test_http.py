"""Files behind HTTP: a real server on loopback that serves ranges, one that does not, and one that drops connections."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data import SERIALIZED, Feature, open_source, storage
from harness.errors import DataError, JobError
from tests import made


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, ranges too; what it has sent, and what it is told to do wrong, is kept at the server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        data = Path(self.translate_path(self.path)).read_bytes()
        if not server.ranges or not asked:
            self.send_response(200)
            part = data
        else:
            first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
            part = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if server.drop > 0:
            server.drop -= 1
            server.dropped += 1
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
            return
        server.sent += len(part)
        self.wfile.write(part)


@pytest.fixture
def served(tmp_path, monkeypatch) -> Iterator[http.server.ThreadingHTTPServer]:
    """A server of TFRecord, Parquet and CSV files of the same examples."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "www"
    folder.mkdir()
    columns = made.examples().columns()
    made.write_tfrecord(folder / "a.tfrecord", made.records(columns, 0, 203))
    table = pa.table({name: list(array) if array.ndim > 1 else array for name, array in columns.items()})
    pq.write_table(table, folder / "a.parquet", row_group_size=64)
    (folder / "a.csv").write_text("label\n" + "".join(f"{label}\n" for label in columns["label"]))
    made_for = lambda *a: Handler(*a, directory=str(folder))  # noqa: E731
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made_for)
    server.ranges, server.drop, server.dropped, server.sent = True, 0, 0, 0
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_ranges_are_read_and_no_more(served, monkeypatch):
    monkeypatch.setattr("harness.data.record_index.STRIDE", 32)
    source = open_source("tfrecord", [f"{served.url}/a.tfrecord"])
    assert [file.examples for file in source.files] == [203]
    whole, served.sent = served.sent, 0
    found = list(source.read(90, 110, 16))
    assert [i for r in found for i in r.ids.tolist()] == list(range(90, 110))
    assert [d for r in found for d in r.raw[SERIALIZED].tolist()] == made.records(made.examples().columns(), 90, 110)
    # Records of one size: those 20, from the last one before them whose place is known to the next, and nothing else.
    assert served.sent == source.files[0].size_bytes * 64 // 203 < whole


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_other_formats(served, kind):
    source = open_source(kind, [f"{served.url}/a.{kind}"]).select({"label": Feature("int64", ())})
    found = list(source.read(60, 203, 50))
    assert [i for r in found for i in r.ids.tolist()] == list(range(60, 203))
    assert [i for r in found for i in r.raw["label"].tolist()] == made.examples().label[60:].tolist()


def test_the_same_metrics_as_from_local_files(served, world, harness, tmp_path):
    keys = {"slices": ["label"], "bootstrap": {"replicates": 5}}
    job = world.job(tmp_path / "http.yaml", data={"files": [f"{served.url}/a.tfrecord"]}, **keys)
    done = harness("evaluate", job, "-o", tmp_path / "http")
    assert done.code == 0, done.text
    local = world.job(tmp_path / "local.yaml", data={"files": [str(tmp_path / "www" / "a.tfrecord")]}, **keys)
    assert harness("evaluate", local, "-o", tmp_path / "local").code == 0
    one, other = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("http", "local"))
    for part in ("metrics", "slices", "intervals", "certificate"):
        assert one[part] == other[part]


@pytest.mark.parametrize("kind", ["tfrecord", "parquet", "csv"])
def test_connections_that_drop_are_tried_again_and_then_said(served, monkeypatch, kind):
    monkeypatch.setattr(storage, "BACKOFF_S", 0.01)
    path = f"{served.url}/a.{kind}"
    source = open_source(kind, [path]).select({"label": Feature("int64", ())})
    served.drop = 2
    assert sum(len(r.ids) for r in source.read(0, 203, 50)) == 203
    assert served.dropped == 2
    served.drop = 1000
    with pytest.raises(DataError) as caught:
        list(open_source(kind, [path]).select({"label": Feature("int64", ())}).read(0, 203, 50))
    assert str(caught.value).startswith(f"{path}: cannot be read: ") and "tried 4 times" in str(caught.value)


@pytest.mark.parametrize("kind", ["tfrecord", "parquet", "csv"])
def test_a_server_without_ranges_is_refused_at_the_first_read(served, kind):
    served.ranges = False
    path = f"{served.url}/a.{kind}"
    with pytest.raises(DataError) as caught:
        list(open_source(kind, [path]).select({"label": Feature("int64", ())}).read(100, 203, 50))
    assert str(caught.value).startswith(f"{path}: expected bytes ")
    assert "the server does not serve ranges" in str(caught.value) and "copy the file here" in str(caught.value)


def test_hdfs_without_its_library_says_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setenv("ARROW_LIBHDFS_DIR", str(tmp_path))
    with pytest.raises(JobError) as caught:
        storage.size_bytes("hdfs://namenode:8020/a.parquet")
    text = str(caught.value)
    assert "libhdfs.so and a Java runtime" in text and "webhdfs://NAMENODE:9870/PATH" in text and "\n" not in text


def test_a_storage_whose_client_is_not_installed_says_which(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(JobError, match="abfs:// cannot be opened: .*adlfs"):
        storage.size_bytes("abfs://container@account.dfs.core.windows.net/a.parquet")
