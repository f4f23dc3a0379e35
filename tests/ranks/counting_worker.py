"""The real command line, with small pieces, and a line of what each rank counted: `counting_worker.py BLIND evaluate JOB.yaml ...`.

Rank 1 does not see files whose name holds BLIND, unless that is empty.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

PIECE = 2000


def plant(blind: str) -> None:
    """Make pieces small, and rank 1 blind."""
    from harness.data import counting, storage
    from harness.errors import DataError
    from harness.run import counting as shared

    rank = int(os.environ.get("HOROVOD_RANK", "0"))
    counting.PIECE = PIECE
    size_bytes, scan_pieces = storage.size_bytes, shared.scan_pieces

    def seen(path: str) -> int:
        if blind and rank == 1 and blind in path:
            raise DataError(f"{path}: cannot be read: No such file or directory")
        return size_bytes(path)

    def counted(pieces: Sequence[Any], *options: Any) -> list[Any]:
        print(f"rank {rank} counts {sum(piece.size_bytes for piece in pieces)} bytes in {len(pieces)} pieces", flush=True)
        return scan_pieces(pieces, *options)

    storage.size_bytes, shared.scan_pieces = seen, counted  # type: ignore[assignment]


def main(argv: list[str]) -> None:
    from harness import cli

    plant(argv[0])
    sys.argv = ["harness", *argv[1:]]
    cli.main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
