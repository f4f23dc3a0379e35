"""A user's metric that fails when its value is computed: on rank 0 alone, after the loop."""

import numpy as np

from harness.metrics.contract import HostMetric


class Late(HostMetric):
    summary = "fails late"

    def columns(self):
        return ("cost",)

    def host_terms(self, labels, predictions):
        return np.ones([len(labels), 1])

    def value(self, totals):
        return {}["no such key"]
