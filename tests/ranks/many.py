"""Many things in one launch, on each of the ranks: the Comm contract, then several jobs. `many.py [predict:]JOB=FOLDER ...`

`from:NAME:JOB=FOLDER` evaluates the predictions that lie in NAME beside FOLDER.
"""

import sys
from pathlib import Path

from harness.job.job import Job
from harness.ranks.comm import World
from harness.step import tensorflow as tf_setup


def main() -> None:
    tf_setup.import_tensorflow()
    from harness.ranks.horovod_comm import HorovodComm
    from harness.run.command import Options
    from harness.run.consensus import connect
    from harness.run.run import run
    from tests import comm_contract

    world = World.from_environment()
    close = HorovodComm.close
    HorovodComm.close = lambda self: None  # type: ignore[method-assign]  # one world for all that follows
    threads = tf_setup.threads_per_rank(world)
    tf_setup.set_up(world.local_rank, threads, 0)
    comm = connect(world)
    comm_contract.check(comm)
    for word in sys.argv[1:]:
        job, _, folder = word.partition("=")
        predicts = job.startswith("predict:")
        options = Options(Path(folder), predict=predicts)
        if job.startswith("from:"):
            _, name, job = job.split(":", 2)
            options = Options(Path(folder), predictions=Path(folder).parent / name)
        assert run(Job.load(job.removeprefix("predict:"), predicts=predicts), options, world) == 0
    comm.barrier()
    print(f"rank {comm.rank} of {comm.size} over {comm.name}: all well", flush=True)
    if isinstance(comm, HorovodComm):
        close(comm)


if __name__ == "__main__":
    main()
