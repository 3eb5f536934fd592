"""One program, once."""
