"""What belongs together where somebody reads a stream: a member, its group, and how it asks."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.consumer.core.asking import Asking
from bridge.consumer.core.calls import Program
from bridge.consumer.core.faults import ConsumerError, GroupMissingError, told
from bridge.consumer.core.group import Group
from bridge.consumer.core.limits import Limits
from bridge.consumer.core.member import Member, dead_letter_key

__all__ = ["Membership", "Status", "membership"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a group stands, and what this member has done since it began; all numbers are entries.

    ``lag``: not given to anybody yet; None where Redis does not know, as before 7.0. ``pending``: given to members and
    not acknowledged. ``newest_seq``: the `seq` of the newest entry of the stream, None where it is empty. ``last_seq``:
    that of the last entry that this member acknowledged, by session id. ``redelivered``: came here for the second time
    or more. ``trimmed``: were cut from the stream before anybody had acknowledged them. ``faults``: requests that
    Redis did not answer, or refused for the moment.
    """

    lag: int | None
    pending: int
    newest_seq: int | None
    last_seq: Mapping[str, int]
    acknowledged: int
    redelivered: int
    dead_lettered: int
    trimmed: int
    faults: int
    settled_id: str
    """All entries up to this entry id are acknowledged by the group: what `Ledger.prune` is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One member of one group in one stream."""

    stream: str
    member: Member
    asking: Asking

    @property
    def dead_letters(self) -> str:
        """The key of the group's dead letters."""
        return dead_letter_key(self.stream, self.member.group.name)

    def status(self) -> Program[Status]:
        """How it stands. Raises ConsumerError, also while Redis is away."""
        counts = self.member.counts
        while True:
            try:
                stand = yield from self.member.group.look()
            except GroupMissingError:
                yield from self.member.group.make()
                continue
            except ConsumerError:
                raise
            except Exception as error:
                raise told(error, self.stream, self.asking.where) from error
            return Status(
                lag=stand.lag,
                pending=stand.pending,
                newest_seq=stand.newest_seq,
                last_seq=dict(counts.last_seq),
                acknowledged=counts.acknowledged,
                redelivered=counts.redelivered,
                dead_lettered=counts.dead_lettered,
                trimmed=counts.trimmed,
                faults=self.asking.faults,
                settled_id=stand.settled,
            )


def membership(where: str, stream: str, group: str, name: str, in_order: bool, limits: Limits) -> Membership:
    """Put it together. ``where`` is for errors. Raises ConsumerError for an empty name."""
    if not stream or not group:
        raise ConsumerError("a consumer needs the key of a stream and the name of a group")
    asking = Asking(stream, where, limits, random.random)
    member = Member(name or _unique_name(), Group(group, asking), asking, in_order=in_order)
    return Membership(stream=stream, member=member, asking=asking)


def _unique_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
