"""One file with the byte code of what a run loads.

Python looks for each of thirty modules by itself, in seven directories: a tenth of a run's time.
So the first `climits run` puts their byte code together into one file beside it in ``__pycache__``,
and the next ones take it from there.  As with Python's own byte code, each entry counts only while
its source has the time and size that it was made from, and a file that cannot be read or written
changes nothing but the speed.

Source: PEP 3147 (``__pycache__``), PEP 451 (specs); the header of byte code files is in
Lib/importlib/_bootstrap_external.py.
"""

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_PACKAGE = __name__.partition(".")[0]
_BEFORE = (_PACKAGE, f"{_PACKAGE}.cli", __name__)  # loaded before there is a bundle
_HEADER = 16  # magic number, flags, time and size of the source, 4 bytes each

_entries: "dict[str, tuple[bool, str, bytes]]" = {}  # name: (is a package, source, byte code file)


def _path() -> str:
    package = os.path.dirname(os.path.dirname(__file__))
    return f"{package}/__pycache__/run.{sys.implementation.cache_tag}.bundle"


class _Finder:
    """Finds the modules of the bundle; see importlib.abc.MetaPathFinder and Loader."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> "Any":  # noqa: ARG004
        entry = _entries.get(name)
        if entry is None or not _is_current(entry[1], entry[2]):
            return None
        package, source, _ = entry
        spec = ModuleSpec(name, _FINDER, origin=source, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    @staticmethod
    def create_module(spec: object) -> None:  # noqa: ARG004 - Python's ordinary module will do
        return None

    @staticmethod
    def exec_module(module: "ModuleType") -> None:
        exec(marshal.loads(_entries[module.__name__][2][_HEADER:]), module.__dict__)


_FINDER: "Any" = _Finder  # Python asks no more of it than these three functions


def _is_current(source: str, code: bytes) -> bool:
    try:
        stat = os.stat(source)
    except OSError:
        return False
    wanted = MAGIC_NUMBER + bytes(4) + _four_bytes(int(stat.st_mtime)) + _four_bytes(stat.st_size)
    return code.startswith(wanted)


def _four_bytes(number: int) -> bytes:
    return (number & 0xFFFF_FFFF).to_bytes(4, "little")


def load() -> None:
    """Take modules from the bundle from now on, if there is one."""
    try:
        with open(_path(), "rb") as file:
            _entries.update(marshal.loads(file.read()))
    except (OSError, ValueError, EOFError, TypeError):
        return
    sys.meta_path.insert(0, _FINDER)


def forget() -> None:
    """Give the bundle's memory back, for who goes on for long; nothing may be saved after that.

    What is imported later, Python looks for by itself.
    """
    _entries.clear()


def save() -> None:
    """Write what is loaded now, if any of it did not come from the bundle."""
    if sys.dont_write_bytecode:
        return
    loaded = {
        name: module.__spec__
        for name, module in sys.modules.items()
        if name.partition(".")[0] == _PACKAGE and name not in _BEFORE and module.__spec__
    }
    if all(spec.loader is _FINDER or spec.cached is None for spec in loaded.values()):
        return
    entries = dict(_entries)  # another command's are kept: those that are stale do no harm
    try:
        for name, spec in loaded.items():
            if spec.loader is not _FINDER and spec.cached is not None and spec.origin is not None:
                with open(spec.cached, "rb") as file:
                    code = file.read()
                if _is_current(spec.origin, code):
                    package = spec.submodule_search_locations is not None
                    entries[name] = package, spec.origin, code
        from ..linux.whole_file import write_whole

        write_whole(_path(), marshal.dumps(entries))
    except (OSError, ImportError):  # the latter: taken away while the program ran
        pass  # no byte code, or no right to write there: as before, only slower
