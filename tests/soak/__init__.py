"""A bad night in minutes: two deployments on one Redis, three workers, and random faults from a printed seed.

`make soak ARGS="--minutes 30 --seed 7"`. A tool; `tests/acceptance/test_soak.py` runs it for a moment.
"""
