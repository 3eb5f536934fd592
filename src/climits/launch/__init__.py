"""The only code that starts a process."""
