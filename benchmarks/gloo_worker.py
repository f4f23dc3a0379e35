"""One process of TorchMetrics' distributed sync over Gloo; runs in an environment of its own, and imports nothing of ours.

python -P gloo_worker.py RANK RANKS FOLDER CLASSES... ROUNDS
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics import classification as c

CLASSES = 10
BATCH = 4096


def main(rank, ranks, folder, sizes, rounds):
    """Count a share of the examples, sync, and on rank 0 write seconds and values."""
    torch.set_num_threads(1)
    folder = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=ranks)
    mean = MeanMetric()
    counted = MetricCollection(
        {
            "accuracy": c.MulticlassAccuracy(CLASSES, average="micro"),
            "top_k": c.MulticlassAccuracy(CLASSES, top_k=3, average="micro"),
            "precision": c.MulticlassPrecision(CLASSES, average="macro"),
            "recall": c.MulticlassRecall(CLASSES, average="macro"),
            "f_beta": c.MulticlassF1Score(CLASSES, average="macro"),
            "confusion_matrix": c.MulticlassConfusionMatrix(CLASSES),
        }
    )
    scores, label = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("scores", "label"))
    start, stop = len(label) * rank // ranks, len(label) * (rank + 1) // ranks
    for at in range(start, stop, BATCH):
        end = min(at + BATCH, stop)
        predicted = torch.from_numpy(np.array(scores[at:end]))
        wanted = torch.from_numpy(np.array(label[at:end])).long()
        counted.update(predicted, wanted)
        mean.update(-torch.log(predicted[torch.arange(len(wanted)), wanted]))
    # Precision, recall and F1 have one state in common, which a collection syncs for each: here it is synced once.
    alone = [counted["accuracy"], counted["top_k"], counted["precision"], counted["confusion_matrix"], mean]
    found = {"7 metrics": {"bytes": size_of(alone), "seconds": timed(alone, rounds)}}
    for classes in sizes:
        matrix = c.MulticlassConfusionMatrix(classes)
        matrix.update(torch.arange(classes), torch.arange(classes))
        found[f"confusion matrix of {classes:,} classes"] = {"bytes": size_of([matrix]), "seconds": timed([matrix], rounds)}
    values = {**counted.compute(), "cross_entropy": mean.compute()}
    table = values.pop("confusion_matrix")
    if rank == 0:
        numbers = {name: float(value) for name, value in values.items()}
        document = {"syncs": found, "values": numbers, "examples": int(table.sum())}
        (folder / "gloo.json").write_text(json.dumps(document))
    dist.barrier()
    dist.destroy_process_group()


def size_of(metrics: list[Metric]) -> int:
    """Return the bytes of the states."""
    tensors = [getattr(metric, name) for metric in metrics for name in metric._defaults]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def timed(metrics: list[Metric], rounds: int) -> list[float]:
    """Sync and undo it, some times; return the seconds of the slower process."""
    seconds = []
    for number in range(rounds + 1):
        dist.barrier()
        start = time.perf_counter()
        for metric in metrics:
            metric.sync()
        elapsed = torch.tensor(time.perf_counter() - start, dtype=torch.float64)
        for metric in metrics:
            metric.unsync()
        dist.all_reduce(elapsed, dist.ReduceOp.MAX)
        if number:  # the first warms up
            seconds.append(float(elapsed))
    return seconds


if __name__ == "__main__":
    rank_, ranks_, folder_, *sizes_, rounds_ = sys.argv[1:]
    main(int(rank_), int(ranks_), folder_, [int(size) for size in sizes_], int(rounds_))
