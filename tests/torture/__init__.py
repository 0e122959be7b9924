"""The fault matrix: faults put into real runs on purpose, and what they cost. `make torture`

Each fault lives in a file of its own and is one function: `run(ground, times, rng)` puts it in
`times` times and answers with an `Outcome`. `python -m tests.torture --quick` is the short version.
"""
