"""Single fields of entries and dead letters, as JSON schemas: each value is text, since Redis keeps nothing else. Pure.

Written in what draft 7 and 2020-12 of JSON Schema have in common, so that AsyncAPI may hold the same definitions:
beside a ``$ref`` stands nothing, and numbers are patterns.
"""

from __future__ import annotations

from typing import Any

from bridge.model.keys import NAME_PATTERN

__all__ = ["FIELDS", "Schema", "data_of", "text"]

Schema = dict[str, Any]


def text(description: str, pattern: str | None = None, **more: Any) -> Schema:
    """A value, and what it must look like."""
    return {"type": "string", "description": description, **({"pattern": f"^{pattern}$"} if pattern else {}), **more}


def data_of(content: str, description: str) -> Schema:
    """The field `data`, whose bytes are a JSON document: ``content`` names the definition of what it holds."""
    return {
        "type": "string",
        "description": description,
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": f"#/$defs/{content}"},
    }


FIELDS: dict[str, Schema] = {
    "sessionId": text("The lens session.", NAME_PATTERN, examples=["lsn-250313a1b2"]),
    "sessionName": text(
        "The stable name of the session, which stays when a new session takes the place of an old one. Not required: "
        "entries that were written before the bridge wrote it lack it.",
        NAME_PATTERN,
        examples=["camera-1"],
    ),
    "eventNumber": text(
        "1, 2, 3, … for each session, in its streams together. The same event has the same number for ever, also where "
        "it comes again after Redis has lost writes; a number that is missing is named by a marker.",
        "[1-9][0-9]{0,15}",
        examples=["42"],
    ),
    "markerNumber": text(
        "The number of the event before it, 0 where there was none: a marker takes none.",
        "(0|[1-9][0-9]{0,15})",
        examples=["42"],
    ),
    "receivedAt": text(
        "When the bridge received it, or wrote the marker: Unix seconds with milliseconds.",
        "[0-9]{1,11}\\.[0-9]{3}",
        examples=["1741843200.123"],
    ),
    "traceContext": text(
        "Only where the bridge traces its commits: W3C Trace Context of the commit that wrote the entry.",
        "00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
        examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    ),
    "cloudEventAttribute": text(
        "Only with stream.format: cloudevents: an attribute of CloudEvents 1.0, which says again what the plain fields "
        "say.",
        minLength=1,
    ),
    "entryId": text("An entry id of Redis.", "[0-9]{1,20}-[0-9]{1,20}", examples=["1741843200123-0"]),
}
"""What several messages have in common, by its name among the definitions."""
