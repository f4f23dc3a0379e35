"""Every metric of the registry has a direction, once."""

from harness.metrics import METRICS
from harness.metrics.direction import _HIGHER, _LOWER, _NEITHER, DIRECTIONS


def test_every_metric_has_one_direction():
    names = [*_HIGHER.split(), *_LOWER.split(), *_NEITHER.split()]
    assert sorted(names) == sorted(METRICS) and len(names) == len(DIRECTIONS)
