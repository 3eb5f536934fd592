"""From a seccomp profile to the filter that the kernel takes, by libseccomp.

libseccomp comes to Python as pyseccomp (from PyPI) or as `seccomp` (from a distribution); they
have the same names.  To load it and make the default filter takes longer than to start a
container, so that filter is kept beside Python's byte code, with all that it depends on.

Source: seccomp_init(3), seccomp_rule_add(3), seccomp_attr_set(3); linux/{filter,seccomp}.h.
"""

import errno
import os
import struct

from ..errors import InvalidValueError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

    from .seccomp_profile import Action, Profile, Rule

_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_INSTRUCTION = struct.Struct("HBBI")  # struct sock_filter
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_GREATER, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x06
_NR, _ARCH = 0, 4  # offsets in struct seccomp_data
_RET_ERRNO = 0x0005_0000
_X32 = 0x4000_0000  # in the numbers of the x32 ABI
_UNKNOWN = -1  # __NR_SCMP_ERROR; what is below is known, but not on this machine

# What every program needs to be started, and climits' process 1 for its work.
_NEEDED = ("execve",)
_NEEDED_BY_INIT = (
    "clone", "close", "exit_group", "fcntl", "kill", "pipe2", "prctl", "read", "rt_sigprocmask",
    "rt_sigtimedwait", "wait4", "write",
)  # fmt: skip

# All that the default filter is made by.
_SOURCES = ("seccomp_default.py", "seccomp_profile.py", "seccomp_filter.py")
_MOST_KEPT = 1 << 20  # bytes of that file; it has a twentieth of it
_default: "bytes | None" = None


def filter_for(
    seccomp: "str | dict[str, Any]", capabilities: "Iterable[str]" = (), *, init: bool = False
) -> "bytes | None":
    """The filter for what ``--seccomp`` says, as BPF instructions.

    Args:
        seccomp: default, none, the path of a profile file, or what is in one.
        capabilities: that the program keeps, without CAP_, for the conditions of a profile.
        init: climits' process 1 runs under it too.

    Returns:
        None for none.

    Raises:
        InvalidValueError: the profile is wrong; the text names the file and the key.
        UnsupportedError: no libseccomp, or something that it or the kernel cannot do.
    """
    global _default
    if seccomp == "none":
        return None
    if seccomp == "default":
        if _default is None:
            _default = _kept() or _make_default()
        return _default
    from . import seccomp_profile

    if isinstance(seccomp, str):
        table, what = seccomp_profile.read_file(seccomp), f"seccomp: {seccomp}"
    else:
        table, what = seccomp, "linux.seccomp"
    profile = seccomp_profile.parse(table, what, capabilities)
    for name in (*_NEEDED, *(_NEEDED_BY_INIT if init else ())):
        if profile.refuses(name):
            who, hint = "no program can be started", f"allow {name}"
            if name not in _NEEDED:
                who, hint = "process 1 cannot work", f"allow {name}, or do without init"
            raise InvalidValueError(
                f"{what}: {name} is refused: {who} without it", value=name, hint=hint
            )
    return compile_profile(profile)


# ---- making --------------------------------------------------------------------------------


def compile_profile(profile: "Profile") -> bytes:
    """Make a filter.

    Raises:
        InvalidValueError, UnsupportedError: as `filter_for`.
    """
    library = _library()
    try:
        program = _Maker(library, profile).program()
    except (OSError, RuntimeError) as e:  # the latter is all that `seccomp` raises
        raise UnsupportedError(
            f"{profile.what}: libseccomp: {_cause(e)}",
            hint="give another profile, or --seccomp none",
        ) from None
    count = len(program) // _INSTRUCTION.size
    if count > _MOST_INSTRUCTIONS:
        raise InvalidValueError(
            f"{profile.what}: too many rules: they make {count} instructions",
            hint=f"the kernel takes {_MOST_INSTRUCTIONS}",
        )
    return program


class _Maker:
    """Hands a profile to libseccomp."""

    def __init__(self, library: "ModuleType", profile: "Profile") -> None:
        self.library, self.profile = library, profile
        self.made = library.SyscallFilter(self.action(profile.default))
        # The calls of another ABI of this machine have other numbers: no rule judges them.
        self.made.set_attr(library.Attr.ACT_BADARCH, library.KILL_PROCESS)
        try:
            self.made.set_attr(library.Attr.CTL_OPTIMIZE, 2)  # a tree instead of a chain
        except (AttributeError, OSError, RuntimeError):
            pass  # before libseccomp 2.5
        self.highest = 0

    def program(self) -> bytes:
        """BPF instructions."""
        # A call that is known by its number alone has none on the other machines that the profile
        # names: it is judged before they are added.
        later = []
        for rule in self.profile.rules:
            for name in rule.names:
                number, is_recent = self.number(rule, name)
                self.highest = max(self.highest, number)
                if is_recent:
                    self.add(rule, name, number)
                elif number != _UNKNOWN:
                    later.append((rule, name, number))
        self.add_architectures()
        for rule, name, number in later:
            self.add(rule, name, number)
        with open(os.memfd_create("climits-seccomp"), "r+b", buffering=0) as file:
            self.made.export_bpf(file)
            file.seek(0)
            return self.newer_calls() + file.read()

    def action(self, action: "Action") -> int:
        kind, number = action
        if kind in ("ERRNO", "TRACE"):
            value: int = getattr(self.library, kind)(number)
        else:
            value = getattr(self.library, kind)
        return value

    def number(self, rule: "Rule", name: str) -> tuple[int, bool]:
        """The number of a call, and whether it is one that libseccomp is too old to know."""
        number: int = self.library.resolve_syscall(self.library.Arch.NATIVE, name)
        if number != _UNKNOWN:
            return number, False
        from .seccomp_default import RECENT

        if name in RECENT:
            return RECENT[name], True
        # Where the rest is refused too, what an unknown name allows is left out.
        if self.profile.allows(self.profile.default) and not self.profile.allows(rule.action):
            raise InvalidValueError(
                f"{rule.key}.names: {name}: libseccomp knows no such system call",
                value=name,
                hint="check the spelling; a newer libseccomp may know it",
            )
        return _UNKNOWN, False

    def add(self, rule: "Rule", name: str, number: int) -> None:
        if rule.action == self.profile.default:
            return  # libseccomp takes none that says nothing new
        library, action = self.library, self.action(rule.action)
        conditions = [
            library.Arg(index, getattr(library, operator), value, second)
            for index, operator, value, second in rule.conditions
        ]
        ways = [conditions]
        if len({condition[0] for condition in rule.conditions}) < len(conditions):
            # Two about one argument: runc takes each for a rule, and so do profiles.
            ways = [[condition] for condition in conditions]
        for way in ways:
            try:
                self.made.add_rule(action, number, *way)
            except (OSError, RuntimeError) as e:
                raise InvalidValueError(
                    f"{rule.key}: {name}: libseccomp does not take this: {_cause(e)}",
                    value=name,
                    hint="does another rule say something else about the same call?",
                ) from None

    def add_architectures(self) -> None:
        for name in self.profile.architectures:
            number = getattr(self.library.Arch, name, None)
            try:
                if number is None:
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
                self.made.add_arch(number)
            except (OSError, RuntimeError) as e:
                raise InvalidValueError(
                    f"{self.profile.what}: SCMP_ARCH_{name}: libseccomp does not take this: "
                    f"{_cause(e)}",
                    value=name,
                    hint="name architectures that programs of this machine can be of",
                ) from None

    def newer_calls(self) -> bytes:
        """Instructions to stand first: calls newer than the profile are as on an older kernel.

        A C library tries a new call first, and an old one on ENOSYS alone.
        """
        kind, number = self.profile.default
        if kind != "ERRNO" or number == errno.ENOSYS:
            return b""
        native = self.library.system_arch()
        steps = (
            (_LOAD, 0, 0, _ARCH),
            (_JUMP_IF_EQUAL, 0, 4, native),
            (_LOAD, 0, 0, _NR),
            (_JUMP_IF_AT_LEAST, 2, 0, _X32),
            (_JUMP_IF_GREATER, 0, 1, self.highest),
            (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS),
        )
        return b"".join(_INSTRUCTION.pack(*step) for step in steps)


def _library() -> "ModuleType":
    """libseccomp's Python binding.

    Raises:
        UnsupportedError: there is none, or the kernel has no filters.
    """
    if not os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
        raise UnsupportedError(
            "this kernel has no seccomp filters", hint="give --seccomp none to do without"
        )
    library: ModuleType
    try:
        import pyseccomp

        library = pyseccomp
    except (ImportError, OSError, RuntimeError):  # it raises both without the C library
        try:
            import seccomp

            library = seccomp
        except ImportError:
            raise UnsupportedError(
                "no seccomp filter without libseccomp and its Python binding",
                hint="pip install 'climits[container]', and install libseccomp2 (or libseccomp); "
                "or give --seccomp none",
            ) from None
    return library


def _cause(e: "OSError | RuntimeError") -> str:
    return os.strerror(e.errno).lower() if isinstance(e, OSError) and e.errno else str(e).lower()


# ---- keeping -------------------------------------------------------------------------------


def _make_default() -> bytes:
    from .seccomp_default import PROFILE
    from .seccomp_profile import parse

    program = compile_profile(parse(PROFILE, "seccomp: default"))
    try:
        _keep(program)
    except (OSError, AttributeError):
        pass  # then it is made anew each time
    return program


def _kept() -> "bytes | None":
    """The default filter from its file, if nothing that it depends on has changed."""
    try:
        with open(_file(), "rb", buffering=0) as file:
            head, _, program = file.read(_MOST_KEPT).partition(b"\0")
        library = os.fsdecode(head.partition(b"\n")[0])
        return program if program and head == _dependencies(library, len(program)) else None
    except (OSError, AttributeError):
        return None


def _keep(program: bytes) -> None:
    from ..linux.whole_file import write_whole

    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        library = next(
            (line.split(maxsplit=5)[5].rstrip("\n") for line in maps if "/libseccomp." in line), ""
        )
    write_whole(_file(), _dependencies(library, len(program)) + b"\0" + program, 0o644)


def _file() -> str:
    # Where Python itself keeps what it makes of this module; if it keeps none, nor do we.
    code = __spec__.cached
    if code is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return f"{os.path.dirname(code)}/seccomp-default-{os.uname().machine}.bpf"


def _dependencies(library: str, size: int) -> bytes:
    """What the default filter depends on, and its size in bytes."""
    seen = os.stat(library)
    kernel = os.uname()
    words = (library, seen.st_ino, seen.st_mtime_ns, seen.st_size, kernel.release, size)
    parts = [os.fsencode("\n".join(map(str, words)))]
    for name in _SOURCES:
        with open(os.path.join(os.path.dirname(__file__), name), "rb", buffering=0) as file:
            parts.append(file.read())
    return b"\n".join(parts)
