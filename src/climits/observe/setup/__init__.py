"""What an administrator does once, so that climits has all it can use: told, done and undone."""
