"""Measurements, as ratios within one run: `make bench`. Nothing here asserts a time.

Every contender is a whole process. A source that is never the bottleneck (`source`) lets a reader connect, waits until
it has come to rest, and then sends; so neither start nor imports are measured. What is counted is what stands in Redis.

`scenarios` says what is measured, `contenders` and `peers` beside whom, `rig` how, and `report` what becomes of it.
"""
