"""What the specification of CloudEvents 1.0 asks of attributes, written down once more, and the official SDK's view."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.v1.event import CloudEvent

__all__ = ["PLAIN_FIELDS", "as_cloud_event", "is_allowed"]

PLAIN_FIELDS = ("id", "session_id", "name", "seq", "type", "data", "received_at")

_SPECIFIED = ("specversion", "id", "source", "type", "time", "subject", "datacontenttype", "sequence")


def is_allowed(text: str) -> bool:
    """A String of CloudEvents: no control characters, no noncharacters, no halves of surrogate pairs."""
    return bool(text) and not any(
        unicodedata.category(c) in {"Cc", "Cs"} or ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in text
    )


def as_cloud_event(entry: Mapping[bytes, bytes]) -> CloudEvent:
    """The SDK's event of an entry as Redis gives it, by the SDK's own conversion from Kafka's binary mode."""
    attributes = {name.decode(): value for name, value in entry.items() if name.startswith(b"ce_")}
    assert set(attributes) - {"ce_traceparent"} == {f"ce_{name}" for name in _SPECIFIED}
    for name, value in attributes.items():
        assert is_allowed(value.decode()), name
        assert re.fullmatch(r"ce_[a-z0-9]{1,20}", name)
    event: Any = from_binary_event(KafkaMessage(headers=attributes, key=None, value=entry[b"data"]))
    assert isinstance(event, CloudEvent)
    return event
