"""The examples of `made` in every format, with the data section of a job that reads them."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests import made

X = [f"x{i}" for i in range(made.WIDTH)]
HALVES = ((0, 77), (77, made.EXAMPLES))  # two files, cut where no chunk ends

# What a text does not say: that numbers are float32, and that eight columns are one feature.
DTYPES = {name: {"dtype": "float32"} for name in ("weight", "target", *X)}
WIDE = {**DTYPES, "x": {"dtype": "float32", "columns": X}}
NESTED = {"x": {"dtype": "float32", "shape": [made.WIDTH]}, "weight": {"dtype": "float32"}, "target": {"dtype": "float32"}}

OWN = """
import numpy as np
class Reader:
    def __init__(self): self.columns = dict(np.load(FILE))
    def __len__(self): return len(self.columns["label"])
    def read(self, start, stop):
        for at in range(start, stop, 10):  # runs of any length will do
            yield {name: array[at:min(at + 10, stop)] for name, array in self.columns.items()}
"""


def write(folder: Path) -> dict[str, dict[str, Any]]:
    """Write all formats below a folder; returns the data section by name of the format."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf

    columns = made.examples().columns()
    table = pa.table({"junk": [["a"]] * made.EXAMPLES, **{n: list(c) if c.ndim > 1 else c for n, c in columns.items()}})
    for number, (start, stop) in enumerate(HALVES):
        part = {name: array[start:stop] for name, array in columns.items()}
        pq.write_table(table.slice(start, stop - start), folder / f"{number}.parquet", row_group_size=50)
        made.write_tfrecord(folder / f"{number}.tfrecord", made.records(part))
        options = tf.io.TFRecordOptions(compression_type="ZLIB")
        with tf.io.TFRecordWriter(str(folder / f"{number}.zlib"), options) as writer:
            for data in made.records(part):
                writer.write(data)
        np.savez(folder / f"{number}.npz", **part)
        (folder / f"npy{number}").mkdir()
        for name, array in part.items():
            np.save(folder / f"npy{number}" / f"{name}.npy", array)
        for ending, delimiter in (("csv", ","), ("tsv", "\t")):
            with open(folder / f"{number}.{ending}", "w", newline="") as stream:
                out = csv.writer(stream, delimiter=delimiter)
                out.writerow([*X, "label", "weight", "target", "note"])
                for i in range(stop - start):
                    row = [*map(str, part["x"][i]), *(str(part[n][i]) for n in ("label", "weight", "target"))]
                    out.writerow([*row, f'a "quoted"\nnote, {i}\n\n'])
        (folder / f"{number}.csv.gz").write_bytes(gzip.compress((folder / f"{number}.csv").read_bytes()))
        lines = [json.dumps({name: array[i].tolist() for name, array in part.items()}) for i in range(stop - start)]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n" * number)
        (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress((folder / f"{number}.jsonl").read_bytes()))
    (folder / "own_reader.py").write_text(f"FILE = {str(folder / 'all.npz')!r}\n{OWN}")
    np.savez(folder / "all.npz", **columns)
    _write_tfds(folder / "tfds", columns)
    return {
        "npz": {"files": f"{folder}/[01].npz"},
        "npy": {"files": f"{folder}/npy?/*.npy"},
        "tfrecord": {"files": f"{folder}/[01].tfrecord"},
        "zlib": {"files": f"{folder}/[01].zlib", "format": "tfrecord"},
        "parquet": {"files": f"{folder}/[01].parquet"},
        "csv": {"files": f"{folder}/[01].csv", "features": WIDE, "inputs": {"x": "x"}},
        "tsv": {"files": f"{folder}/[01].tsv", "features": WIDE, "inputs": {"x": "x"}},
        "csv.gz": {"files": f"{folder}/[01].csv.gz", "features": WIDE, "inputs": {"x": "x"}},
        "jsonl": {"files": f"{folder}/[01].jsonl", "features": NESTED},
        "jsonl.gz": {"files": f"{folder}/[01].jsonl.gz", "features": NESTED},
        "tfds": {"files": f"{folder}/tfds#test", "format": "tfds"},
        "python": {"python": "own_reader:Reader"},
    }


def _write_tfds(folder: Path, columns: dict[str, np.ndarray]) -> None:
    """A prepared folder, as `tfds build` leaves it; metadata in the form of its JSON."""
    folder.mkdir()
    for number, (start, stop) in enumerate(HALVES):
        made.write_tfrecord(folder / f"made-test.tfrecord-{number:05d}-of-00002", made.records(columns, start, stop))
    splits = [
        {"name": "test", "shardLengths": [str(stop - start) for start, stop in HALVES]},
        {"name": "train", "shardLengths": []},
    ]
    (folder / "dataset_info.json").write_text(json.dumps({"name": "made", "fileFormat": "tfrecord", "splits": splits}))

    def tensor(dtype: str, *shape: int) -> dict[str, Any]:
        return {
            "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
            "tensor": {"shape": {"dimensions": [str(size) for size in shape]}, "dtype": dtype, "encoding": "none"},
        }

    label = {
        "pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
        "classLabel": {"numClasses": "5"},
    }
    features = {"x": tensor("float32", made.WIDTH), "label": label, "weight": tensor("float32"), "target": tensor("float32")}
    document = {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
    (folder / "features.json").write_text(json.dumps(document))
