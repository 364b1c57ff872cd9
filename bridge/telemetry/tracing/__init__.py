"""Spans of commits. Only this room imports OpenTelemetry, and only in a worker that is told to trace."""
