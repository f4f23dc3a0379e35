"""Google Cloud Storage: gcsfs against an emulator on loopback, where both are installed (extra gcs)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data import SERIALIZED, Feature, expand, open_source
from harness.errors import JobError
from tests import made

# Read when gcsfs is imported: it would ask Google over gRPC what kind of bucket it is, and a machine of Google's for a token.
os.environ |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "NO_GCE_CHECK": "true"}
gcsfs = pytest.importorskip("gcsfs", reason="needs pip install -c versions.txt -e '.[gcs]'")
emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs pip install -c versions.txt -e '.[gcs]'")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[None]:
    """A bucket of TFRecord and Parquet files of the same examples."""
    folder = tmp_path_factory.mktemp("gcs")
    columns = made.examples().columns()
    made.write_tfrecord(folder / "a.tfrecord", made.records(columns, 0, 100))
    made.write_tfrecord(folder / "b.tfrecord", made.records(columns, 100, 203))
    pq.write_table(pa.table({"label": columns["label"]}), folder / "all.parquet", row_group_size=64)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="data")
    server.start()
    before = dict(os.environ)
    os.environ |= {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        "HARNESS_CACHE": str(folder / "cache"),
    }
    try:
        storage = gcsfs.GCSFileSystem(token="anon")
        for path in folder.glob("*.*"):
            storage.pipe(f"data/{path.name}", path.read_bytes())
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()


def test_globs_and_ranges(bucket):
    paths = expand(["gs://data/*.tfrecord"], ["gs://data/*.tfrecord"])
    assert paths == ["gs://data/a.tfrecord", "gs://data/b.tfrecord"]
    source = open_source("tfrecord", paths)
    assert [file.examples for file in source.files] == [100, 103]
    found = list(source.read(90, 150, 16))
    assert [i for r in found for i in r.ids.tolist()] == list(range(90, 150))
    assert [d for r in found for d in r.raw[SERIALIZED].tolist()] == made.records(made.examples().columns(), 90, 150)


def test_parquet(bucket):
    source = open_source("parquet", ["gs://data/all.parquet"]).select({"label": Feature("int64", ())})
    labels = np.concatenate([records.raw["label"] for records in source.read(60, 203, 50)])
    assert labels.tolist() == made.examples().label[60:].tolist()


def test_what_is_not_there(bucket):
    with pytest.raises(JobError, match="no such file: gs://data/none"):
        expand(["gs://data/none"], ["gs://data/none"])
