"""The commands, for what is made of their tables."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from climits.cli.main import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


def commands() -> Iterator[tuple[str, str, ModuleType]]:
    """Each (name, one line of help, module)."""
    for name, (module_name, summary) in COMMANDS.items():
        yield name, summary, import_module(f"climits.cli.{module_name}")
