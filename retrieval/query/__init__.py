"""From what a person asks to what the stores and the database are asked."""
