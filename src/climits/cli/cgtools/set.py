"""cgset and cgxset: change parameters of cgroups."""

import sys

from ...cgroup.files import Directory
from ...cgroup.layout import current
from ...errors import CgroupGoneError, ClimitsError, InvalidValueError, UnsupportedError
from . import args, groups, parameters
from .parameters import Place
from .status import NO_COUNTERPART, NO_GROUP, USAGE, GiveUp, status_of, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    Setting = tuple[str, str]

_HELP = """\
Usage: {tool} [-bR{versions}] -r NAME=VALUE ... PATH ...
   or: {tool} [-bR] --copy-from PATH PATH ...
Change parameters of cgroups.
  -r, --rule=NAME=VALUE  parameter and value; may be repeated. A memory limit and the
                         one with swap may be given in either order
  --copy-from=PATH       take the values from this cgroup
  -R                     the cgroups below too
{more}  -b                     accepted: paths always start at the root of the hierarchy
  -h, --help             this text
"""
_MORE = """\
  -1, --v1               names and values are cgroup v1's
  -2, --v2               names and values are cgroup v2's
  -i, --ignore-unmappable
                         leave out what the version here does not have
"""
_COPY = "copy"
_LONG = {"rule": "r:", "help": "h", "copy-from": f"{_COPY}:"}
_LONG_X = {"v1": "1", "v2": "2", "ignore-unmappable": "i", **_LONG}

_TREE = "cgroup.subtree_control"

#: What is never copied: counters that a write resets, and what a write sets off.
_NO_SETTINGS = (
    ".failcnt", ".max_usage_in_bytes", "force_empty", ".reclaim", ".peak", ".kill", ".procs",
    ".threads", ".event_control", "cgroup.type", "memory.pressure_level", ".pressure",
)  # fmt: skip


class Wish:
    """What a command line asks for.

    Attributes:
        settings: list[(name, value)].
        source: the cgroup whose values are wanted, or None.
        recursive: the cgroups below too.
        version: v1 or v2, whose names and values they are; None for the ones here.
        lenient: leave out what has no counterpart.
    """

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.source: str | None = None
        self.version: str | None = None
        self.recursive = self.lenient = False


def cgset(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    return _main("cgset", argv, "r:hbR", _LONG)


def cgxset(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    return _main("cgxset", argv, "r:h12ibR", _LONG_X)


def _main(tool: str, argv: list[str], shorts: str, longs: dict[str, str]) -> int:
    if not argv:
        raise GiveUp(USAGE, f"Usage is {tool} -r <name=value> <relative path to cgroup>")
    options, words = args.getopt(tool, shorts, longs, argv, "--help")
    wish = Wish()
    for key, value in options:
        if key == "h":
            more, versions = (_MORE, "12i") if tool == "cgxset" else ("", "")
            sys.stdout.write(_HELP.format(tool=tool, versions=versions, more=more))
            return 0
        if key in ("r", _COPY) and (wish.source is not None or (key == _COPY and wish.settings)):
            raise args.usage_error(tool, help_flag="--help")
        _take(tool, wish, key, value)
    if not words:
        raise GiveUp(USAGE, f"{tool}: no cgroup specified")
    if not wish.settings and wish.source is None:
        raise GiveUp(USAGE, f"{tool}: no name-value pair was set")
    if wish.source is not None:
        wish.settings = _settings_of(tool, wish.source)
    for path in words:
        try:
            _change(path, wish)
        except ClimitsError as e:
            raise parameters.write_error(tool, e) from None
    return 0


def _take(tool: str, wish: Wish, key: str, value: str) -> None:
    if key == "r":
        name, equals, text = value.partition("=")
        try:
            parameters.controller_of(name)
        except InvalidValueError:
            equals = ""
        if not equals or not text:
            raise GiveUp(USAGE, f"{tool}: wrong parameter of option -r: {value}")
        wish.settings.append((name, text))
    elif key == _COPY:
        wish.source = value
    elif key == "R":
        wish.recursive = True
    elif key in "12":
        wish.version = f"v{key}"
    elif key == "i":
        wish.lenient = True


def _settings_of(tool: str, path: str) -> "list[Setting]":
    """What can be set of a cgroup, with its values."""
    found: list[Setting] = []
    exists = False
    try:
        for hierarchy in current().hierarchies:
            try:
                directory = groups.open_group(hierarchy, path)
            except CgroupGoneError:
                continue
            exists = True
            found += _values(Place(hierarchy, directory, path))
    except ClimitsError as e:
        raise GiveUp(status_of(e), f"cgroup {path} error: {tell(e)}") from None
    if not exists:
        raise GiveUp(NO_GROUP, f"{tool}: cgroup {path} error: there is no such cgroup")
    return found


def _values(place: Place) -> "list[Setting]":
    found = []
    for name in groups.entries(place.directory):
        controller = name.partition(".")[0]
        if controller not in place.hierarchy.controllers or name.endswith(_NO_SETTINGS):
            continue
        if not groups.writable(place.directory, name):
            continue
        text = place.read(name)
        if text.startswith("oom_kill_disable "):  # the first line of several can be written
            text = text.split("\n")[0].partition(" ")[2]
        if text and "\n" not in text:
            found.append((name, text))
    return found


# ---- changing ------------------------------------------------------------------------------


def _change(path: str, wish: Wish) -> None:
    """Change one cgroup, and with -R those below it."""
    by_controller: dict[str, list[Setting]] = {}
    for name, text in wish.settings:
        parameters.check_value(name, text)
        by_controller.setdefault(parameters.controller_of(name), []).append((name, text))
    for controller, settings in by_controller.items():
        try:
            place = Place.of(controller, path)
        except (UnsupportedError, CgroupGoneError):
            if wish.source is not None:
                continue  # it is only copied where both are
            raise
        if not wish.recursive:
            _write(place, settings, wish)
            continue
        below = groups.walk(place.directory, path)
        for name, text in settings:
            if name == _TREE:
                _write_tree([directory for _, directory in below], text)
        rest = [setting for setting in settings if setting[0] != _TREE]
        for _, directory in below if rest else ():
            _write(Place(place.hierarchy, directory, path), rest, wish)


def _write_tree(directories: list[Directory], text: str) -> None:
    """Switch controllers on from the top, or off from the leaves, wherever there are children."""
    inner = [d for index, d in enumerate(directories) if index == 0 or d.children()]
    for word in text.split():
        for directory in reversed(inner) if word.startswith("-") else inner:
            directory.write(_TREE, word)


def _write(place: Place, settings: "list[Setting]", wish: Wish) -> None:
    if wish.source is not None:
        names = set(groups.entries(place.directory))
        settings = [(n, t) for n, t in settings if n in names and _differs(place, n, t)]
    elif wish.version is not None:
        settings = _translated(place, settings, wish)
    parameters.write_all(place, settings)


def _differs(place: Place, name: str, text: str) -> bool:
    now = place.read(name)
    if now.startswith("oom_kill_disable "):
        now = now.split("\n")[0].partition(" ")[2]
    return now != text


def _translated(place: Place, settings: "list[Setting]", wish: Wish) -> "list[Setting]":
    from ...cgroup import translate

    here = place.hierarchy.version_name
    if wish.version == here:
        return settings
    out = []
    for setting in settings:
        if translate.can_write(setting[0], here=here):
            out.append(setting)
        elif not wish.lenient:
            raise GiveUp(
                NO_COUNTERPART,
                f"cgxset: {setting[0]} has no counterpart on cgroup {here}, where its controller "
                "is; hint: -i leaves it out",
            )
    return translate.write(out, place.directory.read_optional, here=here)
