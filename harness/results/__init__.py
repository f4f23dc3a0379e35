"""From sums to values, and from values to documents."""
