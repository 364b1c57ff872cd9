"""`lens-bridge verify`: prove from what stands in Redis that every event is there once and in order, or refute it.

The judge shares no code with whom it judges. These are the ways in which a stream can lie, and how each is found;
`tests/support/verify_lies.py` has a stream for each, and one for everything that the bridge can write.

===================================  =================================================================================
the lie                              found by
===================================  =================================================================================
*once*
an entry again, as it is or renewed  its id came before (``duplicate``); without an id: its number, its ordinal
again under the key ``ID~hash8``     ID stands there with these very bytes (``duplicate``)
another event's id                   as above
beside its dead letter               the id is that of a dead letter (``dead_letter``)
*all*
an entry taken out                   its number is missing (``hole``); the last one: the state is ahead of it
an entry of another session          the same, and that session has no state (``state_mismatch``)
numbers lost, not declared           ``hole``
numbers lost, declared wrongly       the marker does not name the hole before the next number to the letter (``marker``)
*in order*
entries or numbers swapped           a number below the highest so far (``out_of_order``)
a number repeated, moved, restarted  the same, or ``hole``
ordinals swapped, with new numbers   the ordinal in a key ``ID#n-hash8`` falls (``out_of_order``)
*markers*
a number of its own                  the event that follows has it too (``marker``); see below
ahead or behind, a wrong kind        its ``seq`` is not that of the entry before it (``marker``); ``malformed``
before the first event               nothing but a lost state is told there (``marker``)
data that says nothing               no reason, no outage, half a range of numbers (``malformed``)
*several streams, of routes*
in two of them, or in none           as within one: they are judged as one run of numbers
order within one of them             a number below the highest so far (``out_of_order``)
a marker in some of them only        it does not stand in each that the state names (``marker``)
a marker's copy changed, or moved    it differs, or stands behind a higher number there (``marker``)
*bytes*
data of an event without an id       its key ends with another hash (``changed``)
data of an id that came again        the same, where the id stands in the stream
a suffix that is no hash             the same
``type`` not that of the data        the data is read again (``malformed``), by another parser than the worker's
data that is no lens event           the same
*fields*
missing, twice, empty                ``malformed``; an entry that can't be read leaves its number missing as well
nonsense as seq, received_at, event  ``malformed``
attributes that say something else   they say again what the plain fields say (``malformed``)
*the place*
no state, or with nonsense           ``state_mismatch``
seq, cursor, ordinal ahead, behind   it is not that of the last event, nor of a dead letter written after it
a cursor behind a purged letter      a letter that is gone explains an id that is not in the stream, no older one
*dead letters*
no reason, another's, not cut, twice  ``dead_letter``; also where the data is a lens event after all
===================================  =================================================================================

What Redis alone can't tell:

- Bytes, type and id of an event that came with an id, changed together with what they depend on; two such events
  swapped with their numbers; one that was never written, or written though never sent. With the server's record
  (``--simulator``) all of these are found; hence *exactly once* is only said then.
- In which of a session's streams an event should stand: routes change. Two events in different streams swapped with
  their numbers. Numbers before the first entry of a stream that was trimmed, while others go further back: they are
  noted as such, and before Redis 7.0, which does not tell, those before the first entry of any.
- What was trimmed: the verdict names sessions without their oldest entries. A stream that was emptied without a marker
  looks the same. Where all entries are gone, the state is not judged.
- Whether a number belongs to a marker. An earlier release gave markers numbers of their own, and such a stream looks
  as one in which the event just before a marker is missing. It passes if the numbers go on after it, if a gap's last id
  is that of the event before it, and if no marker before it stands between numbers; the verdict then says how many
  numbers are taken by markers.
- A server may use ids that have the form of the bridge's keys. An id that stands where such a key would, or whose
  beginning is an id of the stream, and that ends with a hash which is not that of the data, counts as a lie, unless the
  cursor or the server's record knows it. Anything else counts as the server's own.
- Fields that this release does not know are noted, not a fault: a later one may write them.
- Events without an id may be there more than once: that is noted, not a fault.
- Events that were filtered out (``events.include``, ``events.exclude``): with any of them the place may stand further
  on than entries and dead letters tell, and is only held not to be further back. A server that uses the id of an older
  event again, for one that is filtered out, seems to have moved it back until the next event stands there.
- Where a dead letter that was published later belongs: it has its own id and a number, and the field ``dead_letter``
  takes it out of the order, of its own ordinals and of the place.
- The order of an entry and a dead letter of one commit. After an id that came again, or an event after an older id,
  with dead letters around, the ordinal of the state can only be told to be no lower.
- Dead letters: one that was removed, or its whole stream; their data where it is cut.
- Whether ``received_at`` is true, how many commits there were, why and for how long there was a gap.
"""

from bridge.verify.reading import StreamTarget, stream_targets, verify
from bridge.verify.record import Filter
from bridge.verify.report import VerifyError

__all__ = ["Filter", "StreamTarget", "VerifyError", "stream_targets", "verify"]
