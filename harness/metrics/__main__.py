"""Write docs/metrics.md: `python -m harness.metrics > docs/metrics.md`."""

from harness.metrics.describe import page

if __name__ == "__main__":
    print(page(), end="")
