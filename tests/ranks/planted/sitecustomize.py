"""Found by every Python whose path has this folder: plants the fault of HARNESS_TEST_FAULT in `harness evaluate`, nowhere else."""

import os
import sys

if "HARNESS_TEST_FAULT" in os.environ and sys.orig_argv[1].endswith("/harness") and sys.orig_argv[2] == "evaluate":
    from tests.ranks.faulty import plant

    plant(os.environ["HARNESS_TEST_FAULT"])
