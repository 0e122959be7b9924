"""Sentences held against the pictures that they cite."""
