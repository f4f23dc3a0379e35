"""The Comm of a single process, and what the environment says of the world; HorovodComm is in ranks/."""

import numpy as np
import pytest

from harness.errors import DataError, JobError
from harness.ranks.comm import SingleComm, World, joined
from harness.run.consensus import together
from harness.watch.failure import Ended, Told
from tests import comm_contract


def test_single_process_keeps_the_contract():
    comm_contract.check(SingleComm())


def test_the_sum_is_a_copy():
    given = np.ones(2, np.int64)
    SingleComm().sum(given)[0] = 7
    assert given.tolist() == [1, 1]


def test_pieces_of_a_view_are_joined_in_its_own_shape():
    table = np.arange(6).reshape(3, 2)  # its memory is that of a vector
    assert joined(np.split(table, [1])).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert joined(np.split(table.copy().T.copy().T, [1])).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert joined([np.frombuffer(bytes(16), np.int64)]).tolist() == [0, 0]
    column = np.arange(3)[None].T
    assert joined(np.split(column, [2])).shape == (3, 1)


@pytest.mark.parametrize(
    "environ, wanted",
    [
        ({}, World(0, 1, 0, 1)),
        ({"HOROVOD_RANK": "3", "HOROVOD_SIZE": "4", "HOROVOD_LOCAL_RANK": "1", "HOROVOD_LOCAL_SIZE": "2"}, World(3, 4, 1, 2)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}, World(1, 2, 1, 2)),
        ({"PMIX_RANK": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}, World(5, 8, 1, 8)),
        ({"PMI_RANK": "1", "PMI_SIZE": "3"}, World(1, 3, 0, 3)),
        ({"SLURM_STEP_NUM_TASKS": "8"}, World(0, 1, 0, 1)),  # a shell in an allocation, no rank
        ({"PMIX_RANK": "4", "SLURM_STEP_NUM_TASKS": "5", "SLURM_LOCALID": "0", "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1"}, World(4, 5, 0, 1)),
    ],
)  # fmt: skip
def test_world_of_each_launcher(environ, wanted):
    assert World.from_environment(environ) == wanted


def test_what_fails_together_is_said_once(capsys, monkeypatch):
    monkeypatch.delenv("HARNESS_STATUS", raising=False)

    def work():
        raise DataError("a: broken")

    with pytest.raises(Told, match="a: broken") as caught:
        together(SingleComm(), work)
    assert isinstance(caught.value.__cause__, DataError) and capsys.readouterr().err == "harness: error: a: broken\n"
    assert together(SingleComm(), lambda: 7) == 7


def test_the_ranks_exit_code_is_left_for_the_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_STATUS", str(tmp_path / "status.json"))

    def work():
        raise JobError("a: wrong")

    with pytest.raises(Told) as caught:
        together(SingleComm(), work)
    assert caught.value.ended == Ended(2, "a: wrong", 0) and isinstance(caught.value.__cause__, JobError)
    assert '"exit_code": 2' in (tmp_path / "status.json").read_text()
