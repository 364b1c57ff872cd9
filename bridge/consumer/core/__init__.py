"""What a consumer decides, with no socket and no event loop of its own: run by the shells around it. Pure."""
