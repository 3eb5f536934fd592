"""Recordings of what programs use: written, read, drawn."""
