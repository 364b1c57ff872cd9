"""Sessions that nobody names: which of those that the API lists are to be read. Knows the API as a protocol, and the
rules that decide as a pure core."""
