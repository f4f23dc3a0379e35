"""What the kits' results are expected to be: digests of their first 4,096 examples, by kind of hardware and software.

A line is added for a kind that somebody has: `harness bench --kit NAME` prints it. Nothing is ever judged by another kind's line.
"""

from __future__ import annotations

__all__ = ["ANYWHERE", "CONTENT", "DIGESTS"]

# The content hash of the data, which is the same on all hardware.
CONTENT = {
    "vision": "324f88cb1a97c189",
    "table": "b2264bf35f682acd",
    "text": "588068e006fd765c",
    "ranking": "6e527254de91ec93",
    "segmentation": "5402178bc267f354",
    "integer": "dae171e33b964a6a",
}

# Results of kits that compute in whole numbers: the same on all hardware.
ANYWHERE = {
    "integer": "416a9e87f926e8de13071b3d3f527698",
}

SOFTWARE = "tensorflow 2.21.0, keras 3.15.1, numpy 2.4.6"
EPYC = f"{SOFTWARE}; x86_64 AuthenticAMD family 26 model 2"

# Results by kind, as `kit_hardware` names it, and kit.
DIGESTS = {
    f"{EPYC} avx512_core_bf16 L1 48K L2 1024K": {
        "vision": "1f73c256b7a9f4d5becb6b12962fd687",
        "table": "92c7d0a80a18f45a81eefff4582bf4fa",
        "text": "2d278862bd67f0d23a1bdab99957a2c3",
        "ranking": "4ceaed071becb33c91527bce537f5d8e",
        "segmentation": "85490f380a9579ab981963367e285eee",
    },
    f"{EPYC} avx512_core L1 48K L2 1024K": {
        "vision": "1f73c256b7a9f4d5becb6b12962fd687",
        "table": "92c7d0a80a18f45a81eefff4582bf4fa",
        "text": "2d278862bd67f0d23a1bdab99957a2c3",
        "ranking": "4ceaed071becb33c91527bce537f5d8e",
        "segmentation": "85490f380a9579ab981963367e285eee",
    },
    f"{EPYC} avx2 L1 48K L2 1024K": {
        "vision": "1f73c256b7a9f4d5becb6b12962fd687",
        "table": "92c7d0a80a18f45a81eefff4582bf4fa",
        "text": "5fe2bbd65e85eee50c295f59e47bf208",
        "ranking": "4ceaed071becb33c91527bce537f5d8e",
        "segmentation": "85490f380a9579ab981963367e285eee",
    },
}
