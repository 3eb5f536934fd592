"""What the kernel offers and Python's standard library lacks: facts, no policy."""
