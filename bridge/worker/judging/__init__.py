"""What a worker judges by, not asking Redis: clocks, shares, whether the source is in reach, how long to wait."""
