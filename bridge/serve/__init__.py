"""`lens-bridge serve`: a stream of Redis again as Server-Sent Events, each entry once and in order, over any break.

Pure: `places` (ids, and what a resume may have missed), `frames` (bytes), `wishes` (what a reader asks for), `ring`
(the newest entries). Around them: `reading` (Redis), `hub` (one tail for all readers of a stream), `reader` (one
connection), `catalogue` (which streams there are), `http`. It writes nothing to Redis, and knows nothing of who does.
"""
