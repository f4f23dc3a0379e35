"""Which examples there are, cut into chunks, and the certificate that each was counted once. Pure integers."""
