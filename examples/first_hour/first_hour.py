"""From a model and files to a number, one command a case, and no job file: small models of nine kinds, and their data.

python examples/first_hour/first_hour.py FOLDER

writes models and data into a folder, and runs the commands of CASES in it, as a user at a prompt would.
"""

from __future__ import annotations

import contextlib
import csv
import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

from harness.step.tensorflow import import_tensorflow

import_tensorflow()  # quietly

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

EXAMPLES, WIDTH, CLASSES = 120, 6, 4
SPECIES = ("ash", "elm", "oak", "pine")  # in the order of the scores
CASES = {
    "a class, probabilities, from CSV": "evaluate classes.keras classes.csv",
    "a class by its name, from CSV": "evaluate classes.keras species.csv",
    "a class, logits, from Parquet": "evaluate logits.keras classes.parquet",
    "a class, a SavedModel, from TFRecord": "evaluate exported classes-*.tfrecord",
    "a class as a row of 0 and 1": "evaluate classes.keras one_hot.npz",
    "yes or no": "evaluate clicks.keras clicks.npz",
    "a number": "evaluate amount.keras amounts.npz",
    "several labels": "evaluate tags.keras tags.npz",
    "a ranking": "evaluate amount.keras ranking.jsonl",
    "photos, in a folder a class": "evaluate photos.keras photos",
    "metrics of your own choice": "evaluate classes.keras classes.csv --label label --metrics accuracy,f1",
}
GUESSLANG = "guesslang==2.2.1"  # somebody else's classifier of source files, whose labels are names of languages
GUESSLANG_CASE = "evaluate guesslang/data/model sources.jsonl --label language --set data.classes=languages.txt"
SOURCES = (
    ("py", "import os\nimport sys\n\n\ndef main(argv):\n    for name in os.listdir('.'):\n        print(name, len(argv))\n"),
    ("c", '#include <stdio.h>\n\nint main(int argc, char **argv)\n{\n    printf("%d %s\\n", argc, argv[0]);\n    return 0;\n}\n'),
    ("go", 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfor i := 0; i < 3; i++ {\n\t\tfmt.Println(i)\n\t}\n}\n'),
)


def main(folder: Path) -> None:
    """Write models and data, and evaluate every case."""
    write(folder)
    cases = {**CASES, **({"a classifier of others, from PyPI": GUESSLANG_CASE} if fetch_guesslang(folder) else {})}
    for case, command in cases.items():
        print(f"\n# {case}\n$ harness {command}", flush=True)
        subprocess.run([sys.executable, "-m", "harness", *shlex.split(command)], cwd=folder, check=True)


def fetch_guesslang(folder: Path) -> bool:
    """Unpack a model from PyPI, and write sources and the names of their languages; say so where PyPI is not reached."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), GUESSLANG]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        print(f"\n# PyPI does not give {GUESSLANG}: left out", flush=True)
        return False
    with zipfile.ZipFile(next(folder.glob("guesslang-*.whl"))) as wheel:
        wheel.extractall(folder)
    names = json.loads((folder / "guesslang" / "data" / "languages.json").read_text()).values()
    (folder / "languages.txt").write_text("".join(f"{name}\n" for name in names))
    rows = [{"content": text, "language": language} for language, text in SOURCES]
    (folder / "sources.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return True


def write(folder: Path) -> None:
    """Write models and data into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        write_models()
        write_data()


def write_models() -> None:
    """Write the models; their weights are set, not trained: scores are twice the first features."""
    dense = keras.layers.Dense
    models = {
        "classes": keras.Sequential([keras.Input((WIDTH,)), dense(CLASSES, activation="softmax")]),
        "logits": keras.Sequential([keras.Input((WIDTH,)), dense(CLASSES)]),
        "clicks": keras.Sequential([keras.Input((WIDTH,)), dense(1, activation="sigmoid")]),
        "amount": keras.Sequential([keras.Input((WIDTH,)), dense(1)]),
        "tags": keras.Sequential([keras.Input((WIDTH,)), dense(CLASSES, activation="sigmoid")]),
    }
    for name, model in models.items():
        outputs = model.output_shape[-1]
        model.layers[0].set_weights([2 * np.eye(WIDTH, outputs, dtype=np.float32), np.zeros(outputs, np.float32)])
        model.save(f"{name}.keras")
    models["classes"].export("exported", verbose=False)
    photos = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax()])
    photos.save("photos.keras")


def write_data() -> None:
    """Write the same examples in several formats; labels are what a noisy eye would say."""
    draws = np.random.default_rng(4)
    x = draws.normal(size=(EXAMPLES, WIDTH)).astype(np.float32)
    noisy = x + draws.normal(scale=0.5, size=x.shape)
    label = np.argmax(noisy[:, :CLASSES], axis=1)
    np.savez("one_hot.npz", x=x, label=np.eye(CLASSES, dtype=np.int64)[label])
    np.savez("clicks.npz", features=x, clicked=(noisy[:, 0] > 0).astype(np.int64))
    np.savez("amounts.npz", features=x, target=(2 * noisy[:, 0]).astype(np.float32))
    np.savez("tags.npz", x=x, tags=(noisy[:, :CLASSES] > 0).astype(np.int64))
    city = np.array(["Rome", "Oslo", "Lima"])[np.arange(EXAMPLES) % 3]
    write_tables(x, label, city)
    write_records(x, label)
    with open("ranking.jsonl", "w") as file:
        for number in range(EXAMPLES):
            grade = int(np.clip(np.round(noisy[number, 0]), 0, 3))
            file.write(json.dumps({"x": x[number].tolist(), "query_id": number // 10, "label": grade}) + "\n")
    write_photos(draws)


def write_tables(x: np.ndarray, label: np.ndarray, city: np.ndarray) -> None:
    """Write CSV files with a column a feature, one with labels of text, and a Parquet file with a column of lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open("classes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{number}" for number in range(WIDTH)), "city", "label"])
        writer.writerows([*row, town, of] for row, town, of in zip(x.tolist(), city, label.tolist(), strict=True))
    with open("species.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{number}" for number in range(WIDTH)), "species"])
        writer.writerows([*row, SPECIES[of]] for row, of in zip(x.tolist(), label.tolist(), strict=True))
    pq.write_table(pa.table({"x": list(x), "city": city, "label": label}), "classes.parquet")


def write_records(x: np.ndarray, label: np.ndarray) -> None:
    """Write two TFRecord files."""
    for part in range(2):
        with tf.io.TFRecordWriter(f"classes-{part}.tfrecord") as writer:
            for number in range(part, EXAMPLES, 2):
                features = {
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=x[number])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label[number]])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def write_photos(draws: np.random.Generator) -> None:
    """Write images of noise that is a little red, green or blue."""
    for channel, name in enumerate(("blossom", "meadow", "sea")):
        Path("photos", name).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            pixels = draws.integers(0, 200, (8, 8, 3), dtype=np.uint8)
            pixels[..., channel] += 10
            Path("photos", name, f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
