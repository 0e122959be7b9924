"""Pictures in words: one by one, the whole library, and for screen readers."""
