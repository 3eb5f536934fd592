"""``python -m climits``."""

from .cli.main import main

main()
