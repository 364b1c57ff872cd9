"""Redis: one connection, the scripts, commits, leases. Knows nothing of the source, and measures nothing."""
