"""The front door: one file per command. It parses, calls a room, prints; it knows no rule of delivery or ownership."""

from bridge.cli.main import main

__all__ = ["main"]
