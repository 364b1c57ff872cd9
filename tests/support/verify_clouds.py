"""Streams whose entries bear more than the plain fields, honest ones and others, for `tests.support.verify_lies`."""

from __future__ import annotations

from tests.support.verify_streams import Stream, Writer

__all__ = ["CLOUD_LIES", "HONEST_CLOUDS", "TRACED"]

TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = {"traceparent": TRACED, "ce_traceparent": TRACED}
ODD = {
    "100%": "100%25",
    "tab\there": "tab%09here",
    "\ufffe\x85": "%EF%BF%BE%C2%85",
    "\U0001ffff": "%F0%9F%BF%BF",
    "\U0010ffff": "%F4%8F%BF%BF",
}


def clouded(writer: Writer, **more: str) -> Stream:
    """The same stream in the other format."""
    stream = writer.stream
    for _, fields in stream.entries:
        marker = fields["id"].startswith("bridge-") and fields["type"].startswith("bridge.")
        fields |= {
            "name": "camera-1",
            "ce_specversion": "1.0",
            "ce_id": ODD.get(fields["id"], fields["id"]),
            "ce_source": f"/lens/sessions/{fields['session_id']}",
            "ce_type": fields["type"] if marker else f"app.archetypeai.{fields['type']}",
            "ce_time": "2025-03-13T05:20:00.123Z",
            "ce_subject": "camera-1",
            "ce_datacontenttype": "application/json",
            "ce_sequence": f"{fields['seq']:016d}",
            **more,
        }
    return stream


def some() -> Writer:
    """Events, a marker between them, one without an id and one with a name."""
    return Writer().event("e1").gap().event("e2").without_id().event("e3", event="custom").ended()


def odd() -> Writer:
    """Ids that a text of CloudEvents may not hold as they are."""
    writer = Writer()
    for id in ODD:
        writer.event(id)
    return writer


def tampered(**fields: str) -> Stream:
    """The second entry says something else; an empty text takes a field away."""
    stream = clouded(some(), **TRACE)
    entry = stream.entries[2][1]
    entry |= fields
    for name in [name for name, value in fields.items() if not value]:
        del entry[name]
    return stream


HONEST_CLOUDS = {
    "a trace context": Writer().event("e1", traceparent=TRACED).stream,
    "CloudEvents": clouded(some()),
    "CloudEvents with a trace context": clouded(some(), **TRACE),
    "CloudEvents with odd ids": clouded(odd()),
}

CLOUD_LIES = {
    "a trace context that is none": Writer().event("e1", traceparent=TRACED.replace("00-", "ff-", 1)).stream,
    "a trace context of nobody": Writer().event("e1", traceparent=f"00-{0:032x}-{1:016x}-01").stream,
    "an attribute missing": tampered(ce_time=""),
    "all attributes missing but one": Writer().event("e1", ce_id="e1").stream,
    "an attribute's trace context missing": tampered(ce_traceparent=""),
    "an attribute's trace context alone": tampered(traceparent=""),
    "another specversion": tampered(ce_specversion="0.3"),
    "another attribute id": tampered(ce_id="e1"),
    "another source": tampered(ce_source="/lens/sessions/lsn-2"),
    "an attribute type without its prefix": tampered(ce_type="inference.result"),
    "another time": tampered(ce_time="2025-03-13T05:20:01.123Z"),
    "another subject": tampered(ce_subject="camera-2"),
    "another content type": tampered(ce_datacontenttype="text/plain"),
    "another sequence": tampered(ce_sequence="0000000000000003"),
    "a sequence that does not sort": tampered(ce_sequence="2"),
}
