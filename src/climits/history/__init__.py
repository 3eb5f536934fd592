"""What ran before: every run, job and restart, and the limits that follow from it."""
