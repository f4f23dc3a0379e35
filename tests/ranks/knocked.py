"""Like `slow.py`, and rank 0 writes the port of its counter to a file: `knocked.py FILE SECONDS evaluate JOB.yaml ...`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.ranks import slow


def main(argv: list[str]) -> None:
    from harness.ranks import counter

    begin = counter.TcpServer.__init__

    def told(self: Any, *args: Any, **keys: Any) -> None:
        begin(self, *args, **keys)
        Path(argv[0]).write_text(str(self.port))

    counter.TcpServer.__init__ = told  # type: ignore[method-assign]
    slow.main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
