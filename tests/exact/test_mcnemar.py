"""McNemar's exact p-value against SciPy and statsmodels, on both sides of where whole numbers end."""

import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar

from harness.exact.mcnemar import MOST_WHOLE, mcnemar

HALF = MOST_WHOLE // 2


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 7), (3, 9), (12, 12), (40, 60)])
def test_it_is_that_of_statsmodels(first, second):
    theirs = their_mcnemar([[5, first], [second, 5]], exact=True).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (HALF, HALF), (HALF, HALF + 1), (HALF + 1, HALF), (HALF - 50, HALF + 51), (900, 1500), (500_000, 501_500),
        (15, 3000), (16, 3000), (700, 1301),
    ],
)  # fmt: skip
def test_of_many_it_is_that_of_scipy(first, second):
    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(binomtest(first, first + second).pvalue, rel=1e-12)
