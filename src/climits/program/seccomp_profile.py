"""Seccomp profiles: what a file says about the system calls of a program, read and checked.

The format is the OCI runtime specification's ``linux.seccomp``, with what Docker's and Podman's
own profiles have besides: archMap, comments, errors by name, and includes and excludes by
capability, machine and kernel.  seccomp_filter.py makes a filter of it.

Source: config-linux.md of the OCI runtime specification, "Seccomp"; Docker's profiles/seccomp.
"""

import errno
import os

from ..errors import InvalidValueError, UnsupportedError
from ..units import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Action = tuple[str, int]  # (as libseccomp calls it, error number or what a tracer is told)

_ACTIONS = (
    "ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP",
)  # fmt: skip
_WITH_NUMBER = ("ERRNO", "TRACE")
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_ARCHITECTURES = (
    "X86", "X86_64", "X32", "ARM", "AARCH64", "LOONGARCH64", "M68K", "MIPS", "MIPS64",
    "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PARISC", "PARISC64", "PPC", "PPC64",
    "PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB",
)  # fmt: skip
# Without effect here, where the filter is set by the only thread; and it would only be faster.
_NEEDLESS_FLAGS = ("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW")

# uname's machine: libseccomp's name, Go's name (which Docker's conditions use).
_MACHINES = {
    "aarch64": ("AARCH64", "arm64"), "armv7l": ("ARM", "arm"), "i686": ("X86", "386"),
    "ppc64le": ("PPC64LE", "ppc64le"), "riscv64": ("RISCV64", "riscv64"),
    "s390x": ("S390X", "s390x"), "x86_64": ("X86_64", "amd64"),
}  # fmt: skip

_MOST = 4 << 20  # bytes of a file
_MAX_ERRNO = 4095
_MAX_TRACE = 0xFFFF
_MAX_ARG = 2**64 - 1


class Rule:
    """What is done about some calls.

    Attributes:
        names: of the calls.
        action: Action.
        conditions: list of (argument, operator, value, second value); all must hold.
        key: where it stands, for errors.
    """

    __slots__ = ("action", "conditions", "key", "names")

    def __init__(
        self,
        names: list[str],
        action: "Action",
        conditions: "list[tuple[int, str, int, int]]",
        key: str,
    ) -> None:
        self.names, self.action, self.conditions, self.key = names, action, conditions, key


class Profile:
    """What is done about every call.

    Attributes:
        what: how errors call it.
        default: Action for calls that no rule names.
        architectures: besides the machine's own, as libseccomp calls them.
        rules: list[Rule]
    """

    __slots__ = ("architectures", "default", "rules", "what")

    def __init__(
        self, what: str, default: "Action", architectures: list[str], rules: list[Rule]
    ) -> None:
        self.what, self.default = what, default
        self.architectures, self.rules = architectures, rules

    def refuses(self, name: str) -> bool:
        """Whether a call is refused whatever its arguments are."""
        actions = [rule.action for rule in self.rules if name in rule.names and not rule.conditions]
        if any(name in rule.names and rule.conditions for rule in self.rules):
            return False
        return not self.allows(actions[0] if actions else self.default)

    @staticmethod
    def allows(action: "Action") -> bool:
        """Whether a call is, or may be, made."""
        return action[0] in ("ALLOW", "LOG", "TRACE")


def read_file(path: str) -> "dict[str, Any]":
    """What a profile file holds.

    Raises:
        InvalidValueError: there is none, or it is not JSON.
    """
    what = f"seccomp: {shown(path)}"
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        cause = os.strerror(e.errno or 0).lower() if isinstance(e, OSError) else str(e)
        raise InvalidValueError(
            f"{what}: {cause}",
            path=path,
            hint="write default, none, or the path of a profile file",
        ) from None
    if len(data) > _MOST:
        raise InvalidValueError(f"{what}: too long for a profile", path=path)
    import json

    try:
        table = json.loads(data)
    except RecursionError:
        cause = "nested too deeply"
    except UnicodeDecodeError:
        cause = "not text"
    except json.JSONDecodeError as e:
        cause = f"line {e.lineno}, column {e.colno}: not JSON: {e.msg.lower()}"
    except ValueError:
        cause = "not JSON: a number has too many digits"
    else:
        return _table(table, what)
    hint = 'a profile is JSON such as {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}'
    raise InvalidValueError(f"{what}: {cause}", path=path, hint=hint)


def parse(table: "dict[str, Any]", what: str, capabilities: "Iterable[str]" = ()) -> Profile:
    """Read a profile.

    Args:
        table: as JSON gives it.
        what: the file, for errors.
        capabilities: that the program keeps, without CAP_, for Docker's conditions.

    Raises:
        InvalidValueError: a key or value that means nothing; the text names it.
        UnsupportedError: one that needs a supervisor that climits has not.
    """
    _known(
        table, what, ("defaultAction", "defaultErrnoRet", "defaultErrno", "architectures",
                      "archMap", "flags", "listenerPath", "listenerMetadata", "syscalls",
                      "comment"),
    )  # fmt: skip
    for key in ("listenerPath", "listenerMetadata"):
        if table.get(key):
            raise UnsupportedError(
                f"{what}: {key}: climits passes no calls on to another program",
                hint="leave it out, and SCMP_ACT_NOTIFY too",
            )
    for index, flag in enumerate(_list(table.get("flags"), f"{what}: flags")):
        if flag not in _NEEDLESS_FLAGS:
            raise UnsupportedError(
                f"{what}: flags[{index}]: {_shown(flag)}: not supported", hint="leave it out"
            )
    if "defaultAction" not in table:
        raise InvalidValueError(
            f"{what}: defaultAction: missing",
            hint="write SCMP_ACT_ALLOW to list what is refused, SCMP_ACT_ERRNO what is allowed",
        )
    default = _action(table, f"{what}: ", "defaultAction", "defaultErrnoRet", "defaultErrno")
    rules = []
    context = _Context(capabilities)
    for index, item in enumerate(_list(table.get("syscalls"), f"{what}: syscalls")):
        key = f"{what}: syscalls[{index}]"
        rule = _rule(_table(item, key), key, context)
        if rule is not None:
            rules.append(rule)
    return Profile(what, default, _architectures(table, what, context.machine[0]), rules)


# ---- the parts of a profile ----------------------------------------------------------------


class _Context:
    """What conditions are held against."""

    def __init__(self, capabilities: "Iterable[str]") -> None:
        kernel = os.uname()
        self.machine = _MACHINES.get(kernel.machine, (kernel.machine.upper(), kernel.machine))
        self.kernel = _version(kernel.release)
        self.capabilities = {f"CAP_{name}" for name in capabilities}


def _rule(item: "dict[str, Any]", key: str, context: _Context) -> "Rule | None":
    _known(
        item, key, ("name", "names", "action", "errnoRet", "errno", "args", "comment",
                    "includes", "excludes"),
    )  # fmt: skip
    names = _texts(item.get("names"), f"{key}.names")
    if "name" in item:  # of old profiles
        names += _texts([item["name"]], f"{key}.name")
    for name in names:
        if not name.isidentifier():
            raise _bad(f"{key}.names", name, "not the name of a system call")
    if not names:
        raise InvalidValueError(f"{key}.names: empty", hint="name at least one system call")
    action = _action(item, f"{key}.", "action", "errnoRet", "errno")
    conditions = [
        _condition(arg, f"{key}.args[{index}]")
        for index, arg in enumerate(_list(item.get("args"), f"{key}.args"))
    ]
    if not _holds(item.get("includes"), f"{key}.includes", context, wanted=True):
        return None
    if not _holds(item.get("excludes"), f"{key}.excludes", context, wanted=False):
        return None
    return Rule(names, action, conditions, key)


def _action(table: "dict[str, Any]", where: str, key: str, ret: str, name: str) -> "Action":
    """What to do, by its key, that of the error's number, and Podman's of the error's name."""
    kind = _word(table.get(key), where + key, "SCMP_ACT_", (*_ACTIONS, "NOTIFY"))
    if kind == "NOTIFY":
        raise UnsupportedError(
            f"{where}{key}: SCMP_ACT_NOTIFY: climits passes no calls on to another program",
            hint="write SCMP_ACT_ERRNO to refuse them",
        )
    if kind == "KILL_THREAD":
        kind = "KILL"  # its old name, which every libseccomp knows
    number: object = table.get(ret)
    if table.get(name):
        ret, word = name, _texts([table[name]], where + name)[0]
        number = getattr(errno, word, None)
        if number is None:
            raise _bad(where + name, word, "unknown", "write one such as EPERM")
    if number is None:
        return kind, errno.EPERM if kind in _WITH_NUMBER else 0
    if kind not in _WITH_NUMBER:
        hint = "it goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE"
        raise _bad(where + ret, number, f"SCMP_ACT_{kind} has no number", hint)
    return kind, _integer(number, where + ret, _MAX_ERRNO if kind == "ERRNO" else _MAX_TRACE)


def _condition(item: "Any", key: str) -> "tuple[int, str, int, int]":
    item = _table(item, key)
    _known(item, key, ("index", "value", "valueTwo", "op"))
    operator = _word(item.get("op"), f"{key}.op", "SCMP_CMP_", _OPERATORS)
    index = _integer(item.get("index"), f"{key}.index", 5)
    value = _integer(item.get("value"), f"{key}.value", _MAX_ARG)
    return index, operator, value, _integer(item.get("valueTwo", 0), f"{key}.valueTwo", _MAX_ARG)


def _holds(table: "Any", key: str, context: _Context, *, wanted: bool) -> bool:
    """Whether Docker would take a rule: all of includes hold, none of excludes."""
    if table is None:
        return True
    table = _table(table, key)
    _known(table, key, ("caps", "arches", "minKernel"))
    caps, arches = (_texts(table.get(word), f"{key}.{word}") for word in ("caps", "arches"))
    answers = [cap in context.capabilities for cap in caps]
    if arches:
        answers.append(context.machine[1] in arches)
    if table.get("minKernel"):
        least = table["minKernel"]
        if not isinstance(least, str) or not _version(least):
            raise _bad(f"{key}.minKernel", least, "not a version", "write one such as 4.8")
        answers.append(context.kernel >= _version(least))
    return all(answer is wanted for answer in answers)


def _architectures(table: "dict[str, Any]", what: str, own: str) -> list[str]:
    plain, mapped = table.get("architectures"), table.get("archMap")
    if plain and mapped:
        raise InvalidValueError(
            f"{what}: architectures and archMap say the same", hint="leave one of them out"
        )
    found = [
        _word(name, f"{what}: architectures[{index}]", "SCMP_ARCH_", _ARCHITECTURES)
        for index, name in enumerate(_list(plain, f"{what}: architectures"))
    ]
    for index, item in enumerate(_list(mapped, f"{what}: archMap")):
        key = f"{what}: archMap[{index}]"
        item = _table(item, key)
        _known(item, key, ("architecture", "subArchitectures"))
        name = _word(item.get("architecture"), f"{key}.architecture", "SCMP_ARCH_", _ARCHITECTURES)
        subs = [
            _word(sub, f"{key}.subArchitectures[{n}]", "SCMP_ARCH_", _ARCHITECTURES)
            for n, sub in enumerate(_list(item.get("subArchitectures"), f"{key}.subArchitectures"))
        ]
        if name == own:
            found += subs
    return [name for name in dict.fromkeys(found) if name != own]


# ---- values --------------------------------------------------------------------------------


def _bad(key: str, value: object, cause: str, hint: "str | None" = None) -> InvalidValueError:
    return InvalidValueError(f"{key}: {_shown(value)}: {cause}", value=value, hint=hint)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _known(table: "dict[str, Any]", what: str, keys: "Sequence[str]") -> None:
    for key in table:
        if key not in keys:
            raise InvalidValueError(
                f"{what}: {_shown(key)}: no such key",
                value=key,
                hint=_nearest(key, keys) or f"known are {', '.join(keys)}",
            )


def _word(value: object, key: str, prefix: str, words: "Sequence[str]") -> str:
    """The value without its prefix, one of some words."""
    full = [prefix + word for word in words]
    if value is None:
        raise InvalidValueError(f"{key}: missing", hint=f"write one of {', '.join(full)}")
    if value not in full:
        hint = _nearest(value, full) if isinstance(value, str) else None
        raise _bad(key, value, "unknown", hint or f"write one of {', '.join(full)}")
    assert isinstance(value, str)
    return value.removeprefix(prefix)


def _nearest(word: str, words: "Sequence[str]") -> "str | None":
    import difflib

    close = difflib.get_close_matches(word, words, 1)
    return f"did you mean {close[0]}?" if close else None


def _integer(value: object, key: str, most: int) -> int:
    if value is None:
        raise InvalidValueError(f"{key}: missing", hint=f"write 0 to {most}")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise _bad(key, value, "not a whole number in range", f"write 0 to {most}")
    return value


def _list(value: object, key: str) -> "list[Any]":
    if value is None:
        return []
    if not isinstance(value, list):
        raise _bad(key, value, "not a list", "put it in square brackets")
    return value


def _texts(value: object, key: str) -> list[str]:
    items = _list(value, key)
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise _bad(f"{key}[{index}]", item, "not text", "put it in quotation marks")
    return list(items)


def _table(value: object, key: str) -> "dict[str, Any]":
    if not isinstance(value, dict):
        raise _bad(key, value, "not an object", "put it in braces")
    return value


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of a kernel's release; empty for what is none."""
    parts = text.split(".")[:2]
    digits = ["".join(c for c in part.partition("-")[0] if c in "0123456789") for part in parts]
    return tuple(int(part) for part in digits) if all(digits) else ()
