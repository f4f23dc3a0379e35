"""The server that forks ranks: one for all files of this folder, for it begins with an import of TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.ranks.forks import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    server = Forks(ROOT)
    yield server
    server.close()
