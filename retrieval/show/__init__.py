"""How results are shown to a person: a table, pictures in the terminal, a page for the browser."""
