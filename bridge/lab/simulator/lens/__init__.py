"""One lens session: what it says, what it keeps, what is to go wrong with it.

It must not know HTTP, nor who reads it; a reader is a protocol to it.
"""
