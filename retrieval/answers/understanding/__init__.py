"""What an English question asks for, read by rules: the kind of answer, the words, the limits."""
