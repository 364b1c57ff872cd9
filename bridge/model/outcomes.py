"""What can come of asking the source or Redis for something: values, not exceptions. Each union is closed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from bridge.model.labels import ConnectOutcome, DisconnectReason

__all__ = [
    "Active",
    "AlreadyCommitted",
    "Closed",
    "CommitResult",
    "Committed",
    "Fenced",
    "HeldBy",
    "Listed",
    "Lookup",
    "Lost",
    "Over",
    "Refused",
    "ReplayAsked",
    "RolledBack",
    "Unanswered",
]


# Opening the source


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The source did not open. ``detail`` is one line for a person; it never holds a secret.

    ``key_version`` tells which key it was refused with, so that another one is known as another.
    """

    outcome: ConnectOutcome
    detail: str
    status: int | None = None
    retry_after_seconds: float | None = None
    key_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """An open source is at its end."""

    reason: DisconnectReason
    detail: str = ""


# Asking after a session


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """The API lists the session, in a status that is not known to be final."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The API no longer lists the session (``status`` is ``unknown``) or says that it has come to its end."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """No answer that says anything about the session. ``retry_after_seconds``: when the API wants to be asked again."""

    detail: str
    retry_after_seconds: float | None = None


Lookup = Active | Over | Unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A session as the API lists it. ``status`` is spelled in one way whatever the API's is; ``over``: it is final.

    ``seconds`` is how long it has lived, infinity where the API does not say.
    """

    session_id: str
    lens_id: str = ""
    status: str = ""
    over: bool = False
    seconds: float = math.inf


# Committing


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """It landed. ``seq`` is that of the last entry, ``length`` the stream's length.

    ``unread_trimmed``: entries that the hard cap cut though a consumer group had not read them. ``not_trimmed``: why
    Redis did not tell what is unread, so that nothing was trimmed.
    """

    seq: int
    length: int
    unread_trimmed: int = 0
    not_trimmed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyCommitted:
    """It had landed at an earlier try, whose reply was lost. ``mark`` is that of the commit that stands there."""

    seq: int
    length: int
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """Another worker may write now. ``commits`` is how many had been made when it took over."""

    commits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """Redis stands at another commit than the one we saw acknowledged: a failover or a restore lost our writes.

    ``mark`` is that of the last commit there, ``seq`` and ``length`` are as for one that landed: where that is a commit
    of ours that is still under way, nothing was rolled back.
    """

    commits: int
    mark: str = field(default="", compare=False)
    seq: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The state is gone: Redis was emptied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAsked:
    """The place is still ours, at so many ``commits``, and somebody asks for dead letters to be published."""

    commits: int


CommitResult = Committed | AlreadyCommitted | Fenced | RolledBack | Lost


# Taking a lease


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBy:
    """Another worker has the session, and has not given it back.

    Its ``beat`` changes with all that it does. One that stays the same for ``remaining_seconds``, by the clock of
    whoever asks, may be taken over. ``lapsed``: the lease key is gone, by Redis's clock or by an eviction.
    """

    owner: str
    remaining_seconds: float
    beat: bytes
    lapsed: bool
