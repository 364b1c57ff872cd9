"""What the help of these commands says below the options."""

from __future__ import annotations

__all__ = ["ADD", "DRAIN", "LIST", "MOVE", "PAUSE", "REMOVE", "RESUME", "REWIND", "SESSIONS"]

_CODES = "exit codes: 0 done, 1 failed or Redis cannot be reached, 2 bad configuration or a conflict"

SESSIONS = f"""\
Sessions that are added stand in Redis (`lens:sessions`), and all workers take them up within two seconds, without a
restart and without touching any other session. They come on top of the configured ones. A name that is configured wins:
to register it for another id is a conflict, which is refused here, and told by workers that find it in Redis.

examples:
  lens-bridge sessions list
  lens-bridge sessions add camera-9=lsn-250313...
  lens-bridge sessions pause camera-9
  lens-bridge sessions rewind camera-9 --to-start

{_CODES}
"""

LIST = f"""\
  SESSION  the name      ID  the lens session
  ORIGIN   configured (here), registered (added at run time) or discovered (found at the API, with discovery.enabled)
  STATE    held: a worker has its lease, one that was killed for lease.ttl_seconds more. standby: nobody has it
           now. new: nobody ever had. paused. ended, gone: it is over
  SEQ      the last number that is committed        COMMITTED  when (UTC)        WORKER  who reads it

examples:
  lens-bridge sessions list
  lens-bridge sessions list --json | jq -r '.sessions[] | select(.state == "standby") | .name'

{_CODES}
"""

ADD = f"""\
A name that has been used before goes on with its stream; a session that was removed goes on where it stood. With --from
they are read from a file, one a line.

examples:
  lens-bridge sessions add camera-9=lsn-250313...
  lens-bridge sessions add --replace camera-9=lsn-250401...     the next session of the same camera, in the same stream
  lens-bridge sessions add --from sessions.txt

{_CODES}
"""

REMOVE = f"""\
The worker that reads it commits what it has read and lets go. Stream and place stay in Redis: added again, the session
goes on where it stood, as far as the server still serves it.

examples:
  lens-bridge sessions remove camera-9

{_CODES}
"""

PAUSE = f"""\
Reading stops, what was read is committed, and the place is kept; the state is `paused` in /status and in metrics. It
waits until nobody reads the session any more. Configured sessions can be paused too.

examples:
  lens-bridge sessions pause camera-9

{_CODES}
"""

RESUME = f"""\
It goes on where it stood, as far as the server still serves it.

examples:
  lens-bridge sessions resume camera-9

{_CODES}
"""

REWIND = f"""\
Whoever reads the session is fenced first: it takes a new token, so that nobody can commit against the old place. Then
one commit moves the place and writes a marker (type bridge.gap, reason `rewound`) that says from where to where.

What consumers see: no number changes; what comes next is numbered on. Of what the server sends again, all that stands
in the stream is skipped, as far back as dedupe.window_events: so going back publishes what is not there, up to 32 times
as many events. ID is what stands in the field id; what has none of the server's leads behind the one before. Where more
than that stands behind the new place, events would come twice, under new numbers: that is refused without --again, and
declared by the marker with it. Going ahead (--to-live, or --to an id that has not come yet) skips what lies between.
`verify` knows these markers. --to-live asks the lens API where the session is now, so it needs the key.

examples:
  lens-bridge sessions rewind camera-9 --to 1041
  lens-bridge sessions rewind camera-9 --to-start --again
  lens-bridge sessions rewind camera-9 --to-live

{_CODES}
"""

MOVE = f"""\
The worker that reads it goes on until the other one can begin with it. Shares stay even: a worker that has one too many
then gives another one away.

examples:
  lens-bridge sessions move camera-9 --to lens-bridge-1

{_CODES}
"""

DRAIN = """\
Other workers take over what it reads, one by one; what nobody else wants it goes on reading. It takes none again until
--undo, or until it is started anew.

examples:
  lens-bridge drain lens-bridge-0
  lens-bridge drain lens-bridge-0 --undo

exit codes: 0 done, 1 failed, Redis cannot be reached, or nobody takes some of them, 2 bad configuration
"""
