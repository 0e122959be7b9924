"""The commands of `search`, one file each: parse, one call, format. `cli.py` loads them late."""
