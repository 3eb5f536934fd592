"""One file with the byte code of what a command loads, in the order in which it is run.

Python looks for each of forty modules by itself, in seven directories, and reads it by itself: a
fourth of what `climits run` takes.  So the first run of a command notes in which order its modules
were complete, and puts their byte code together into one file in ``__pycache__``; the next run has
one module after the other from there.  As with Python's own byte code, it counts only while each
source has the time and size that it was made from, and a file that cannot be read or written
changes nothing but the speed.

Source: PEP 3147 (``__pycache__``), PEP 451 (specs); the header of byte code files is in
Lib/importlib/_bootstrap_external.py.
"""

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    #: Name, whether it is a package, its source below _PLACE, that one's time and size, the code.
    Row = tuple[str, bool, str, bytes, CodeType]

_PACKAGE = __name__.partition(".")[0]
_PLACE = os.path.dirname(os.path.dirname(__file__))
#: The commands that scripts call again and again; others are not worth a file.
_COMMANDS = ("run", "container", "get", "set", "tree")
#: Rooms of which these commands load something for an option only: that others shall not pay for.
_FOR_AN_OPTION = ("supervise", "program.polling", "observe.recordings")

_loaded: list[str] = []  # in the order in which they were complete; empty with a bundle


class _Recorder:
    """Finds modules as Python does, and notes when each is complete."""

    @staticmethod
    def find_spec(name: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
        spec = PathFinder.find_spec(name, path, target) if name.startswith(_PACKAGE) else None
        if spec is not None and spec.cached is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: "Any") -> None:
                run(module)
                _loaded.append(name)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def load() -> None:
    """Load what the command needs from its bundle, or note what it loads."""
    command = _command()
    if command is None:
        return
    rows = _read(_path(command))
    if rows is not None:
        for name, package, source, _, code in rows:
            _run(name, package, source, code)
    elif not sys.dont_write_bytecode and os.access(os.path.dirname(_path(command)), os.W_OK):
        sys.meta_path.insert(0, _Recorder)  # Python asks for no more of it


def save() -> None:
    """Write the bundle, where there was none."""
    command = _command()
    if command is None or not _loaded:
        return
    by_option = tuple(f"{_PACKAGE}.{room}" for room in _FOR_AN_OPTION)
    try:
        rows = [_row(name) for name in _loaded if not name.startswith(by_option)]
        from ..linux.whole_file import write_whole

        write_whole(_path(command), marshal.dumps((MAGIC_NUMBER, rows)))
    except (OSError, ImportError, ValueError, EOFError, TypeError):  # no byte code, or taken away
        pass  # while the program ran, or no right to write there: as before, only slower


def _command() -> "str | None":
    return next((word for word in sys.argv[1:2] if word in _COMMANDS), None)


def _path(command: str) -> str:
    return f"{_PLACE}/__pycache__/{command}.{sys.implementation.cache_tag}.bundle"


def _read(path: str) -> "list[Row] | None":
    """What the bundle holds; None if a part of it is not what the source says now."""
    try:
        with open(path, "rb") as file:
            magic, rows = marshal.loads(file.read())
        good = magic == MAGIC_NUMBER and all(
            stamp == _stamp(source) for _, _, source, stamp, _ in rows
        )
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return rows if good else None


def _stamp(source: str) -> bytes:
    """Time and size of a source, as byte code has them."""
    stat = os.stat(f"{_PLACE}/{source}")
    return b"".join(
        (number & 0xFFFF_FFFF).to_bytes(4, "little")
        for number in (int(stat.st_mtime), stat.st_size)
    )


def _row(name: str) -> "Row":
    """The row of a module that Python has loaded."""
    spec: Any = sys.modules[name].__spec__
    source = os.path.relpath(spec.origin, _PLACE)  # not that of a copy's original
    stamp = _stamp(source)
    with open(spec.cached, "rb") as file:
        header, code = file.read(16), file.read()
    if header != MAGIC_NUMBER + bytes(4) + stamp:
        raise ValueError("the byte code is that of another source")
    package = spec.submodule_search_locations is not None
    return name, package, source, stamp, marshal.loads(code)


def _run(name: str, package: bool, source: str, code: "CodeType") -> None:
    """Make a module of a row, as importlib would."""
    if name in sys.modules:
        return
    path = f"{_PLACE}/{source}"
    spec = ModuleSpec(name, None, origin=path, is_package=package)
    module = type(sys)(name)
    module.__spec__, module.__file__ = spec, path
    module.__package__ = spec.parent
    if package:
        module.__path__ = spec.submodule_search_locations = [os.path.dirname(path)]
    sys.modules[name] = module
    exec(code, module.__dict__)
    parent, _, leaf = name.rpartition(".")
    setattr(sys.modules[parent], leaf, module)
