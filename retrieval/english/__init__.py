"""English as far as sentences made in code need it: nouns, kinds of things, days, quotes, how sure one is."""
