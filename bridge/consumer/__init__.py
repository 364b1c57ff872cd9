"""The kit for those who read the bridge's streams: a group whose members may die at any instant, at any number.

It knows the names of keys and fields and the forms of addresses, nothing else of the bridge, and needs redis-py alone.
"""

from bridge.consumer.awaiting import AsyncConsumer
from bridge.consumer.blocking import Consumer
from bridge.consumer.core.entries import Ended, Entry, Event, Gap, Marker, NotAnEntryError
from bridge.consumer.core.faults import ConsumerError
from bridge.consumer.core.limits import Limits
from bridge.consumer.ledger import AsyncLedger, Dialect, Ledger
from bridge.consumer.membership import Status

__all__ = [
    "AsyncConsumer",
    "AsyncLedger",
    "Consumer",
    "ConsumerError",
    "Dialect",
    "Ended",
    "Entry",
    "Event",
    "Gap",
    "Ledger",
    "Limits",
    "Marker",
    "NotAnEntryError",
    "Status",
]
