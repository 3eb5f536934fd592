"""The status page of a supervisor: what runs, what it uses, what happened, and buttons."""
