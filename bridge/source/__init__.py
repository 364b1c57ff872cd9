"""The lens API: HTTP, event streams, answers, the key. Knows nothing of Redis, of leases or of what is shown."""
