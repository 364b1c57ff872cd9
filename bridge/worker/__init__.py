"""The process: which sessions it reads, and when. The only room that knows both ends, the source and the store."""
