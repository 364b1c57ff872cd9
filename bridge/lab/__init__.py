"""The stage: a simulated lens API, a demo, a Redis of one's own: to see and test the bridge without an account.

It plays what is outside the worker, so it shares no code with it.
"""
