"""One session under one lease: a reader fills a buffer, a committer empties it, a pump ends both.

It knows neither HTTP nor Redis: both ends are protocols here, and the worker fills them in.
"""
