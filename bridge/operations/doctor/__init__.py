"""`lens-bridge doctor`: looks at all that a worker needs, with the worker's own ways in, and says what to mend.

What is seen and what it means stand apart: modules that ask (`network`, `servers`, `trial`, `api`), and pure ones that
judge. It knows both ends, source and store, and not the worker. It changes nothing of a session: what it writes are
throw-away keys of its own, and what it reads of a stream it leaves to the server.
"""

from bridge.operations.doctor.examination import Scope, examine
from bridge.operations.doctor.lines import Level, Line, as_json, fault, text_of, verdict, worst

__all__ = ["Level", "Line", "Scope", "as_json", "examine", "fault", "text_of", "verdict", "worst"]
