"""Answers put together in code, out of rows, tags and texts."""
