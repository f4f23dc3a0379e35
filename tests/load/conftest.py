"""A server of the classifier, as TensorFlow Serving is one, for the tests of a module."""

from __future__ import annotations

import pytest

from tests.models.test_endpoints import Server


@pytest.fixture(scope="module")
def server(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "m"
    folder.mkdir()
    (folder / "1").symlink_to(world.folder / "classifier")
    server = Server({"m": folder})
    yield server
    server.kill()
