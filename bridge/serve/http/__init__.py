"""The HTTP side of `serve`: who may come in, what a request gets, how it is written. What is sent is others' matter."""
