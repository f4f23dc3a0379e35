"""Found by every Python that a test starts, for its folder comes first on their path. Two programs are changed by it:

`harness evaluate` has the fault of HARNESS_TEST_FAULT. horovodrun does not load TensorFlow twice to find out what Horovod was
built with, unless HARNESS_TEST_HOROVODRUN is "asks": here that is both MPI and Gloo (tests/launch/test_horovod_build.py).
"""

import os
import sys

PROGRAM = os.path.basename(sys.orig_argv[1]) if len(sys.orig_argv) > 2 else ""

if "HARNESS_TEST_FAULT" in os.environ and PROGRAM == "harness" and sys.orig_argv[2] == "evaluate":
    from tests.ranks.faulty import plant

    plant(os.environ["HARNESS_TEST_FAULT"])

if PROGRAM == "horovodrun" and os.environ.get("HARNESS_TEST_HOROVODRUN") != "asks":
    from horovod.common import util

    util.mpi_built = util.gloo_built = lambda verbose=False: True
