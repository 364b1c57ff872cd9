"""The servers behind one address: how to get in, who is the primary, which has a slot, and what each of them is.

Commits know nothing of this. They go out through `bridge.store.link`, and here it is found out to whom.
"""
