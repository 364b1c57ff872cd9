"""What this worker is told while it runs: its files are watched, read again when they change, and taken up as far as
that can be. Knows neither the source nor the store: who is concerned is told."""
