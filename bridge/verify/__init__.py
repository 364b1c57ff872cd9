"""`lens-bridge verify`: prove from what stands in Redis that every event is there once and in order, or refute it."""

from bridge.verify.reading import StreamTarget, VerifyError, stream_targets, verify

__all__ = ["StreamTarget", "VerifyError", "stream_targets", "verify"]
