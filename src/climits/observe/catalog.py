"""What each cgroup file means: the table in files.toml, and how to find a file in it."""

import os

from ..cgroup.files import Directory
from ..cgroup.layout import Layout
from ..errors import CgroupError, InvalidValueError
from ..linux.kernel_config import read_config
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..cgroup.layout import Hierarchy


class CgroupFile(Record):
    """One file of one cgroup version; see the head of files.toml.

    Attributes:
        name: as it stands in a cgroup's directory.
        version: v1 or v2.
        controller: whose file it is; ``core``: every cgroup of that version has it.
        meaning: what it holds or does.
        unit: of its value; see values.py.
        counts: in a file of bytes by key, keys that start so are counts.
        access: r, rw or w.
        writable_since: the first kernel on which one that is read-only may be written.
        where: all, child (not in the root cgroup) or root.
        counterpart: files of the other version that come closest, the best first.
        since: the first kernel that has it.
        until: the last kernel on which it does what it says; later ones keep the file only.
        deprecated: the first kernel that warns of it.
        needs: options of the kernel's configuration without which it is missing.
        vendor: not in the mainline kernel.
        note: what surprises.
    """

    name: str
    version: str
    controller: str
    meaning: str
    unit: str
    counts: "list[str]" = []  # noqa: RUF012 - records are frozen
    access: str
    writable_since: "str | None" = None
    where: str = "all"
    counterpart: "list[str]" = []  # noqa: RUF012
    since: str
    until: "str | None" = None
    deprecated: "str | None" = None
    needs: "list[str]" = []  # noqa: RUF012
    vendor: bool = False
    note: "str | None" = None

    def exists_on(self, kernel: str) -> bool:
        """Whether a kernel of that release has it, if it was built with what it `needs`."""
        return version_of(self.since) <= version_of(kernel)

    def works_on(self, kernel: str) -> bool:
        """Whether it does on that kernel what it says."""
        return self.until is None or version_of(kernel) <= version_of(self.until)

    def is_writable_on(self, kernel: str) -> bool:
        """Whether that kernel lets it be written."""
        since = self.writable_since
        return "w" in self.access or (since is not None and version_of(since) <= version_of(kernel))

    def access_on(self, kernel: str) -> str:
        """``read and write``, ``read`` or ``write``, on that kernel."""
        readable, writable = "r" in self.access, self.is_writable_on(kernel)
        return "read and write" if readable and writable else "read" if readable else "write"

    def hierarchy_in(self, layout: Layout) -> "Hierarchy | None":
        """The hierarchy whose cgroups have it on this host, memory's if several; or None."""
        for hierarchy in sorted(layout.hierarchies, key=lambda h: "memory" not in h.controllers):
            held = self.controller == "core" or self.controller in hierarchy.controllers
            if held and hierarchy.version_name == self.version:
                return hierarchy
        return None


def version_of(release: str) -> tuple[int, ...]:
    """The numbers of a kernel's release that tell features apart: 6.1 of 6.1.0-56-amd64.

    Kernels of the 2.6 series have a third number that counts.
    """
    numbers = [int(part) for part in release.partition("-")[0].split(".")[:3] if part.isdigit()]
    return tuple(numbers[: 3 if numbers[:2] == [2, 6] else 2])


_table: "tuple[CgroupFile, ...]" = ()


def catalog() -> tuple[CgroupFile, ...]:
    """The whole table, read once a process."""
    global _table
    if not _table:
        import tomllib  # 12 ms

        with open(os.path.join(os.path.dirname(__file__), "files.toml"), "rb") as file:
            _table = tuple(CgroupFile(**entry) for entry in tomllib.load(file)["file"])
    return _table


def find_files(word: str) -> list[CgroupFile]:
    """The files that a person means: memory.max, or limit_in_bytes without its prefix.

    Returns:
        Those of one name, v1's before v2's; at least one.

    Raises:
        InvalidValueError: there is none, or several of different names; the hint has the names.
    """
    word = word.rpartition("/")[2]
    found = [file for file in catalog() if file.name == word]
    if not found:
        found = [file for file in catalog() if file.name.partition(".")[2] == word and word]
    names = list(dict.fromkeys(file.name for file in found))
    if len(names) == 1:
        return found
    if names:
        raise InvalidValueError(
            f"several files are called {word}: {', '.join(names)}",
            value=word,
            hint=f"climits explain {names[0]}",
        )
    raise InvalidValueError(f"no such cgroup file: {word!r}", value=word, hint=_nearest(word))


def _nearest(word: str) -> str:
    import difflib

    known = {file.name: file.name for file in catalog()}
    known |= {file.name.partition(".")[2] or file.name: file.name for file in reversed(catalog())}
    begun = [name for name in known if len(word) > 2 and name.startswith(word)]
    within = [name for name in known if len(word) > 2 and word in name]
    close = difflib.get_close_matches(word, known, 3, 0.7)
    names = list(dict.fromkeys(known[name] for name in (*begun, *close, *within)))[:3]
    if names:
        return f"did you mean {' or '.join(names)}?"
    return "climits explain without a name lists them all"


def counterparts(file: CgroupFile) -> list[CgroupFile]:
    """The files of the other version that come closest, the best first; may be empty."""
    return [
        other
        for name in file.counterpart
        for other in catalog()
        if other.name == name and other.version != file.version
    ]


def on_this_host(files: "Iterable[CgroupFile]", layout: Layout, kernel: str) -> list[CgroupFile]:
    """Those of the files that cgroups of this host have; may be empty."""
    return [file for file in files if _is_here(file, layout, kernel)]


def _is_here(file: CgroupFile, layout: Layout, kernel: str) -> bool:
    hierarchy = file.hierarchy_in(layout)
    if hierarchy is None:
        return False
    if file.where != "child" and hierarchy.root == "/":  # the root cgroup is there to be asked
        try:
            return Directory(hierarchy.mount_point).has(file.name)
        except CgroupError:
            pass
    if not file.exists_on(kernel):
        return False
    config = _config(kernel) if file.needs else None
    return config is None or all(config.get(option) == "y" for option in file.needs)


_configs: "dict[str, dict[str, str] | None]" = {}


def _config(kernel: str) -> "dict[str, str] | None":
    if kernel not in _configs:
        _configs[kernel] = read_config(kernel)[0]
    return _configs[kernel]
