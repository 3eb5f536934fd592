"""The container of a program in climits.toml: what may stand in its table, and what it means."""

import os

from ..errors import InvalidValueError
from . import config_values as values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: (key, position in its list or None, text behind the key's name, hint)
    Problem = tuple[str, int | None, str, str | None]


def _namespace(value: "Any", what: str) -> str:
    from ..program.container import SHAREABLE

    word: str = values.one_of(*SHAREABLE)(value, what)
    return word


def _capability(value: "Any", what: str) -> str:
    from ..launch.capabilities import parse

    name = values.text(value, what)
    try:
        parse([name])
    except InvalidValueError as e:
        raise values.bad(what, name, "no such capability", e.hint) from None
    return name


#: The keyword arguments of Container: all keys of the table.
KEYS: "dict[str, values.Reader]" = {
    "rootfs": values.text,
    "overlay": values.yes_or_no,
    "overlay_dir": values.text,
    "binds": values.list_of(values.text),
    "tmpfs": values.list_of(values.text),
    "read_only": values.yes_or_no,
    "hostname": values.text,
    "network": values.one_of("none", "host"),
    "share": values.list_of(_namespace),
    "init": values.yes_or_no,
    "cap_add": values.list_of(_capability),
    "cap_drop": values.list_of(_capability),
    "no_new_privs": values.yes_or_no,
    "seccomp": values.text,
    "devices": values.list_of(values.text),
}

_PATHS = ("rootfs", "overlay_dir")
_BUILT_IN_PROFILES = ("default", "none")


def resolve(
    found: "dict[str, Any]", given: "set[str]", name: str, absolute: "Callable[[str], str]"
) -> "tuple[dict[str, Any], list[Problem]]":
    """Say what the keys mean for one program, and what is wrong with them.

    Args:
        found: the table, each value of the right kind.
        given: all keys that the file has, those with values of the wrong kind too.
        name: of the program, for ``{name}``.
        absolute: makes a path of the file absolute.

    Returns:
        (keyword arguments of Container, problems).
    """
    options = {key: _named(value, name) for key, value in found.items()}
    for key in _PATHS:
        if key in options:
            options[key] = absolute(options[key])
    if "binds" in options:
        options["binds"] = [_absolute_bind(text, absolute) for text in options["binds"]]
    profile = options.get("seccomp", "default")
    if profile not in _BUILT_IN_PROFILES:
        options["seccomp"] = absolute(profile)
    problems = [*_each(options), *_together(options, given, profile)]
    return options, problems


def _named(value: "Any", name: str) -> "Any":
    if isinstance(value, list):
        return [_named(item, name) for item in value]
    return value.replace("{name}", name) if isinstance(value, str) else value


def _absolute_bind(text: str, absolute: "Callable[[str], str]") -> str:
    source, colon, rest = text.partition(":")
    return absolute(source) + colon + rest if source and colon else text


def _each(options: "dict[str, Any]") -> "list[Problem]":
    """What the container says to each value alone."""
    from ..program.container import Container

    problems: list[Problem] = []
    for key in ("rootfs", "overlay_dir", "hostname", "binds", "tmpfs", "devices"):
        value = options.get(key, [])
        several = isinstance(value, list)
        for index, item in enumerate(value if several else [value]):
            given: dict[str, Any] = {key: [item] if several else item}
            if key == "overlay_dir":
                given["rootfs"] = "/"  # it needs one
            try:
                Container(**given)
            except InvalidValueError as e:
                cause = e.text.partition(": ")[2]  # without its own name of the key
                problems.append((key, index if several else None, cause, e.hint))
    return problems


def _together(options: "dict[str, Any]", given: "set[str]", profile: str) -> "list[Problem]":
    """What one value says about another."""
    problems: list[Problem] = []
    for key in ("overlay", "overlay_dir"):
        if options.get(key) and "rootfs" not in given:
            problems.append((key, None, "needs a rootfs", 'add rootfs = "DIR"'))
    share = options.get("share", ())
    if "hostname" in options and "uts" in share:
        cause = "needs a uts namespace of its own"
        problems.append(("hostname", None, cause, "take uts out of share"))
    if options.get("init") and "pid" in share:
        cause = "needs a pid namespace of its own"
        problems.append(("init", None, cause, "take pid out of share"))
    if profile not in _BUILT_IN_PROFILES and not os.path.isfile(options["seccomp"]):
        hint = values.suggestion(profile, _BUILT_IN_PROFILES) or "write default, none or a file"
        problems.append(("seccomp", None, f"{options['seccomp']}: no such file", hint))
    return problems
