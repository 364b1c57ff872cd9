"""`lens-bridge sessions` and `lens-bridge drain`: see and steer sessions while workers run."""
