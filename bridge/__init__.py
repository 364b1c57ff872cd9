"""Lens Bridge: Archetype AI lens sessions (SSE) into Redis Streams, exactly once."""

from importlib.metadata import version

__version__ = version("lens-bridge")
