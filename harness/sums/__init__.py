"""What examples add up to: its layout, its arrays, and the one reduction over all ranks."""
