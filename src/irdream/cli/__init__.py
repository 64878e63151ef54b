"""The command line: the keys with their types, and mistakes in one line."""
