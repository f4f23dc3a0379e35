"""The compiled loop: feed, step, terms, positions, grid."""
