"""Object storage: a real S3 server on loopback, with and without faults between it and us."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time

import numpy as np
import pytest

from harness.data import SERIALIZED, expand, open_source, storage
from harness.errors import DataError, JobError
from tests import made

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMIxKxMDENGxbPxRfiCYEXAMPLEKEY"


class Proxy:
    """Passes bytes between clients and a server; drops the connections it is told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.drop = 0  # connections to cut after some bytes of the answer
        self.dropped = 0
        self.down = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if answer and (self.down or self.drop > 0):
                    self.drop -= 1
                    self.dropped += 1
                    target.sendall(data[: len(data) // 2])
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket of TFRecord and Parquet files behind a proxy; the proxy."""
    import boto3
    import pyarrow as pa
    import pyarrow.parquet as pq
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    proxy = Proxy(port)
    folder = tmp_path_factory.mktemp("s3")
    columns = made.examples().columns()
    made.write_tfrecord(folder / "a.tfrecord", made.records(columns, 0, 100))
    made.write_tfrecord(folder / "b.tfrecord", made.records(columns, 100, 203))
    made.write_tfrecord(folder / "c.tfrecord.gz", made.records(columns, 0, 50), compress=True)
    table = pa.table({name: list(array) if array.ndim > 1 else array for name, array in columns.items()})
    pq.write_table(table, folder / "all.parquet", row_group_size=64)
    environ = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}", "HARNESS_CACHE": str(folder / "cache")}
    before = dict(os.environ)
    os.environ.update(environ)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket="data")
    for path in folder.iterdir():
        client.upload_file(str(path), "data", path.name)
    yield proxy
    os.environ.clear()
    os.environ.update(before)
    proxy.close()
    server.stop()


def fresh():
    """Forget connections and listings."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def ids_and_records(source, start, stop):
    found = list(source.read(start, stop, 16))
    return [i for r in found for i in r.ids.tolist()], [d for r in found for d in r.raw[SERIALIZED].tolist()]


def test_globs_and_ranges_of_tfrecord(bucket):
    fresh()
    paths = expand(["s3://data/*.tfrecord"], ["s3://data/*.tfrecord"])
    assert paths == ["s3://data/a.tfrecord", "s3://data/b.tfrecord"]
    source = open_source("tfrecord", paths)
    assert [f.examples for f in source.files] == [100, 103]
    assert ids_and_records(source, 90, 150) == (list(range(90, 150)), made.records(made.examples().columns(), 90, 150))


def test_the_pass_that_counts_is_cached(bucket, monkeypatch):
    fresh()
    open_source("tfrecord", ["s3://data/c.tfrecord.gz", "s3://data/a.tfrecord"])
    monkeypatch.setattr("harness.data.tfrecord_index.scan", lambda path, **_: pytest.fail("the file was scanned"))
    monkeypatch.setattr("harness.data.tfrecord_packed.records", lambda path: pytest.fail("the file was unpacked"))
    assert [f.examples for f in open_source("tfrecord", ["s3://data/c.tfrecord.gz", "s3://data/a.tfrecord"]).files] == [50, 100]


def test_parquet(bucket):
    fresh()
    from harness.data import Feature

    source = open_source("parquet", ["s3://data/all.parquet"]).select({"label": Feature("int64", ())})
    found = list(source.read(60, 203, 50))
    assert np.concatenate([r.ids for r in found]).tolist() == list(range(60, 203))
    assert np.concatenate([r.raw["label"] for r in found]).tolist() == made.examples().label[60:].tolist()


@pytest.mark.parametrize("kind, path", [("tfrecord", "s3://data/a.tfrecord"), ("parquet", "s3://data/all.parquet")])
def test_connections_that_drop_are_tried_again(bucket, monkeypatch, kind, path):
    monkeypatch.setattr(storage, "BACKOFF_S", 0.01)
    fresh()
    source = open_source(kind, [path])
    fresh()
    bucket.drop, before = 2, bucket.dropped
    found = list(source.read(0, 100, 20))
    assert bucket.dropped - before == 2
    assert sum(len(r.ids) for r in found) == 100
    bucket.drop = 0


@pytest.mark.parametrize("kind, path", [("tfrecord", "s3://data/a.tfrecord"), ("parquet", "s3://data/all.parquet")])
def test_a_server_that_is_gone_is_said_and_no_secret_with_it(bucket, monkeypatch, kind, path):
    monkeypatch.setattr(storage, "BACKOFF_S", 0.01)
    fresh()
    source = open_source(kind, [path])
    fresh()
    bucket.down = True
    try:
        with pytest.raises(DataError) as caught:
            list(source.read(0, 100, 20))
    finally:
        bucket.down = False
    text = str(caught.value)
    assert text.startswith(f"{path}: cannot be read: ") and "tried 4 times in " in text
    assert KEY not in text and SECRET not in text


def test_what_is_not_there(bucket):
    fresh()
    with pytest.raises(JobError, match="no such file: s3://data/none"):
        expand(["s3://data/none"], ["s3://data/none"])
    with pytest.raises(JobError, match=r"'s3://data/no\*' matches nothing"):
        expand(["s3://data/no*"], ["s3://data/no*"])


@pytest.mark.parametrize(
    "url", ["http://me:hidden@127.0.0.1/x", "https://host/x?X-Amz-Signature=hidden", "https://host/x?access_token=hidden"]
)
def test_a_url_with_a_credential_is_refused_and_not_repeated(url):
    with pytest.raises(JobError) as caught:
        storage.size_bytes(url)
    assert "use the environment" in str(caught.value) and "hidden" not in str(caught.value)


def test_the_whole_way(bucket, world, harness, tmp_path):
    job = world.job(tmp_path / "job.yaml", data={"files": "s3://data/all.parquet"})
    done = harness("evaluate", job, "-o", tmp_path / "run", environ={k: v for k, v in os.environ.items() if k.startswith("AWS")})
    assert done.code == 0, done.text
    local = harness("evaluate", world.job(tmp_path / "job.yaml"), "-o", tmp_path / "local")
    assert local.code == 0, local.text
    one, other = (json.loads((tmp_path / name / "metrics.json").read_text())["metrics"] for name in ("run", "local"))
    assert one == other
    for path in (p for p in (tmp_path / "run").rglob("*") if p.is_file()):
        assert SECRET.encode() not in path.read_bytes()


def test_tries_are_few_and_further_apart(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def work():
        raise ConnectionResetError("gone, see http://host/?secret=hidden")

    with pytest.raises(DataError) as caught:
        storage.retried("s3://a/b", work)
    assert slept == [0.2, 0.4, 0.8]
    assert str(caught.value).startswith("s3://a/b: cannot be read: ConnectionResetError: gone, see; tried 4 times in 1.4 s")
    assert "hidden" not in str(caught.value)
