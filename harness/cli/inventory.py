"""The commands that say what there is: metrics, records of files, what is installed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from harness.cli.paths import FilePath

__all__ = ["doctor", "index", "metrics"]


@click.command()
@click.argument("name", required=False)
def metrics(name: str | None) -> int:
    """List the metrics there are, or one with its options."""
    from harness.metrics.describe import describe, overview

    click.echo(describe(name) if name else overview())
    return 0


@click.command()
@click.argument("files", nargs=-1, required=True, type=FilePath())
def index(files: Sequence[str]) -> int:
    """Write the record index of TFRecord files beside them."""
    from harness.data import expand
    from harness.data.tfrecord_index import index_path, write_index

    for path in expand(files, files):
        click.echo(f"{index_path(path)}: {write_index(path):,} records")
    return 0


@click.command()
def doctor() -> int:
    """Say what is installed, what Horovod was built with, and what would go wrong."""
    from harness_launch.machine import count_gpus

    from harness.run.doctor import doctor as run_doctor

    return run_doctor(count_gpus())
