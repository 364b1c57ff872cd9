"""What the worker tells: log, figures, Prometheus, the admin server and its page. Nothing here decides anything."""
