"""Plan fragments: mounts, and the tree that they are put into.

A mount is made or copied first, gets its flags, and is then put into its place: at no moment can
it be seen without them.  Places are found by descriptors, and in a tree that somebody else may
write to meanwhile no step follows a link, leaves the tree, or goes twice through a name that could
mean something else by then.

Source: fsopen(2), fsmount(2), open_tree(2), move_mount(2), openat2(2), mount_setattr(2), which is
the youngest (5.12); include/uapi/linux/{mount,openat2}.h.
"""

import os
import stat
import struct

from .plan import ANY_RESULT, AT_FDCWD, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    #: A descriptor that an earlier step has opened.
    Opened = tuple[int]

MS_NODEV, MS_REC, MS_PRIVATE = 4, 16384, 1 << 18
_MNT_DETACH = 2
_AT_RECURSIVE, _AT_EMPTY_PATH = 0x8000, 0x1000
_OPEN_TREE_CLONE, _FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1, 1
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_MOVE_FROM_HERE, _MOVE_TO_HERE = 0x4, 0x40
#: MOUNT_ATTR_*
FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
# RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH
_STRICT = 0x2 | 0x4 | 0x8


def new(
    plan: Plan, fstype: str, flags: "Iterable[str]" = (), options: str = "", *, purpose: str = ""
) -> "Opened":
    """Make a mount of a new file system, in no place yet.

    Args:
        plan: to add to.
        fstype: proc, tmpfs, ...
        flags: names in FLAGS.
        options: of the file system, with commas between them.
        purpose: for the error.
    """
    purpose = purpose or f"mount {fstype}"
    context = plan.call("fsopen", _bytes(fstype), _FSOPEN_CLOEXEC, purpose=purpose)
    for option in (f"source={fstype}", *filter(None, options.split(","))):
        key, equals, value = option.partition("=")
        plan.call(
            "fsconfig", context, _SET_STRING if equals else _SET_FLAG, _bytes(key),
            _bytes(value) if equals else None, 0, purpose=purpose,
        )  # fmt: skip
    plan.call("fsconfig", context, _CMD_CREATE, None, None, 0, purpose=purpose)
    mount = plan.call("fsmount", context, _FSMOUNT_CLOEXEC, _sum(flags), purpose=purpose)
    plan.call("close", context)
    return mount


def copy(
    plan: Plan, source: "str | Opened", *, recursive: bool = True, purpose: str = ""
) -> "Opened":
    """Copy the mount of a file or directory, from there on downwards; in no place yet.

    Args:
        plan: while the mounts of the host may still be copied.
        source: its path, as seen here, or its descriptor.
        recursive: what is mounted below it too.
        purpose: for the error.
    """
    how = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    if isinstance(source, tuple):
        return plan.call("open_tree", source, b"", how | _AT_EMPTY_PATH, purpose=purpose)
    purpose = purpose or f"copy the mount of {source}"
    return plan.call("open_tree", AT_FDCWD, _bytes(source), how, purpose=purpose)


def restrict(
    plan: Plan, mount: "Opened", flags: "Iterable[str]", *, below: bool = True, purpose: str = ""
) -> None:
    """Set flags of a mount; the others stay as they are.

    Remounting would take away flags that the mount has from where it comes from, which an ordinary
    user may not even do.

    Args:
        plan: to add to.
        mount: its descriptor, or that of its top.
        flags: names in FLAGS.
        below: those below it too.
        purpose: for the error.
    """
    attributes = struct.pack("QQQQ", _sum(flags), 0, 0, 0)
    how = _AT_EMPTY_PATH | (_AT_RECURSIVE if below else 0)
    purpose = purpose or f"set {', '.join(sorted(flags))}"
    plan.call("mount_setattr", mount, b"", how, attributes, len(attributes), purpose=purpose)


def read_only_copy(plan: Plan, path: str, fd: int) -> None:
    """Replace a descriptor by one of the same file on a mount of its own that cannot be written.

    What is executed through it can be found by the program, as /proc/PID/exe.

    Args:
        plan: while the mounts of the host may still be copied.
        path: of the file, as seen here.
        fd: which number it is to have; close-on-exec.
    """
    mount = copy(plan, path, recursive=False)
    restrict(plan, mount, ("ro",), below=False)
    plan.call("dup3", mount, fd, os.O_CLOEXEC, purpose=f"copy the mount of {path}")
    plan.call("close", mount)


class Tree:
    """Where mounts go: places below one directory, by paths that start with a slash.

    Attributes:
        top: that directory's descriptor; AT_FDCWD: the root that we have.
        strict: somebody else may write in it meanwhile.
    """

    def __init__(self, plan: Plan, top: "int | Opened", *, strict: bool = True) -> None:
        self.plan, self.top, self.strict = plan, top, strict
        # What has been mounted, by its path: looked for by the mount and no longer by the name.
        self._mounted: dict[str, Tree] = {}

    def find(self, path: str, purpose: str) -> "Opened":
        """Open a place, to be closed by the caller."""
        tree, path = self._inside(path)
        if not tree.strict:
            how, name = 0, path
        else:
            how, name = _STRICT, path.strip("/") or "."
        data = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, how)
        return self.plan.call("openat2", tree.top, _bytes(name), data, len(data), purpose=purpose)

    def attach(
        self, mount: "Opened", path: str, *, purpose: str = "", keep: bool = False
    ) -> "Opened":
        """Put a mount into its place.

        Args:
            mount: from new or copy.
            path: of the place, which exists.
            purpose: for the error.
            keep: more is to be mounted inside, and what is found there counts from the mount.
        """
        purpose = purpose or f"mount on {path}"
        place = self.find(path, purpose)
        self._move(mount, place, purpose)
        self.plan.call("close", place)
        if keep:
            tree, inner = self._inside(path)
            tree._mounted[inner] = Tree(self.plan, mount)
        else:
            self.plan.call("close", mount)
        return mount

    def restrict(self, path: str, flags: "Iterable[str]") -> None:
        """Set flags of the mount at a place, and of those below it."""
        purpose = f"make {path} {', '.join(sorted(flags))}"
        place = self.find(path, purpose)
        restrict(self.plan, place, flags, purpose=purpose)
        self.plan.call("close", place)

    def protect(self, path: str) -> None:
        """Make a file, or a directory and all below it, read-only."""
        purpose = f"make {path} read-only"
        place = self.find(path, purpose)
        mount = copy(self.plan, place, purpose=purpose)
        restrict(self.plan, mount, ("ro",), purpose=purpose)
        self._move(mount, place, purpose)
        self.plan.call("close", place)
        self.plan.call("close", mount)

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory, and those on the way to it, where there is none."""
        tree, rest = self._inside(path)
        parts = rest.strip("/").split("/")
        for count, name in enumerate(parts):
            above = tree._open("/" + "/".join(parts[:count]), f"make {path}")
            self.plan.call("mkdirat", above, _bytes(name), mode, expect=ANY_RESULT)
            tree._close(above)

    def make_file(self, path: str) -> None:
        """Make an empty file, and the directories on the way to it, where there is none."""
        tree, above, name = self._parent(path)
        kind = stat.S_IFREG | 0o644
        self.plan.call("mknodat", above, _bytes(name), kind, 0, expect=ANY_RESULT)
        tree._close(above)

    def make_link(self, text: str, path: str) -> None:
        """Make a symbolic link."""
        tree, above, name = self._parent(path)
        purpose = f"make the link {path}"
        self.plan.call("symlinkat", _bytes(text), above, _bytes(name), purpose=purpose)
        tree._close(above)

    def _parent(self, path: str) -> "tuple[Tree, int | Opened, str]":
        tree, rest = self._inside(path)
        above, _, name = rest.rpartition("/")
        if above:
            tree.make_directory(above)
        return tree, tree._open(above or "/", f"make {path}"), name

    def _open(self, path: str, purpose: str) -> "int | Opened":
        return self.top if path == "/" else self.find(path, purpose)

    def _close(self, place: "int | Opened") -> None:
        if place != self.top:
            self.plan.call("close", place)

    def _move(self, mount: "Opened", place: "Opened", purpose: str) -> None:
        how = _MOVE_FROM_HERE | _MOVE_TO_HERE
        self.plan.call("move_mount", mount, b"", place, b"", how, purpose=purpose)

    def _inside(self, path: str) -> "tuple[Tree, str]":
        """The innermost of what has been mounted that a path leads into, and the rest of it."""
        for point, tree in self._mounted.items():
            if f"{path}/".startswith(f"{point}/"):
                return tree._inside(path[len(point) :] or "/")
        return self, path


def private(plan: Plan) -> None:
    """Keep what is mounted from here on from spreading to the host, and the other way round."""
    purpose = "make the mounts private"
    plan.call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None, purpose=purpose)


def overlay(plan: Plan, target: str, options: str) -> None:
    """Mount an overlay; all paths are relative to the current directory, and nobody else's.

    By mount(2): before 6.5 the other way does not know how to quote what stands in the options.
    """
    plan.call(
        "mount", b"overlay", _bytes(target), b"overlay", MS_NODEV, _bytes(options),
        purpose="mount the overlay",
    )  # fmt: skip


def pivot_here(plan: Plan) -> None:
    """Make the current directory, a mount, the root, and give the old root back.

    Both stand at the same place for a moment, so that no directory is needed for the old one.
    """
    plan.call("pivot_root", b".", b".", purpose="pivot_root")
    plan.call("umount2", b".", _MNT_DETACH, purpose="unmount the old root")
    plan.call("chdir", b"/", purpose="change to /")


def _sum(flags: "Iterable[str]") -> int:
    return sum(FLAGS[flag] for flag in flags)


def _bytes(text: str) -> bytes:
    data = os.fsencode(text)
    if b"\0" in data:  # the kernel would read up to it
        raise ValueError("embedded null byte")
    return data
