"""Once, all, in order: what an event becomes. Pure: no clock, no I/O, no settings."""
