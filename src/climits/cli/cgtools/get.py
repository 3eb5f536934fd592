"""cgget and cgxget: print parameters of cgroups."""

import errno
import sys

from ...cgroup.layout import current
from ...errors import CgroupError, CgroupGoneError, ClimitsError, InvalidValueError
from . import args, groups, parameters
from .parameters import Place
from .status import INVALID, NO_COUNTERPART, REFUSED, GiveUp, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    Values = list[tuple[str, str]]

_HELP = """\
Usage: {tool} [-abnv{versions}] [-r NAME] ... [-g CONTROLLERS] ... PATH ...
   or: {tool} [-bnv{versions}] -g CONTROLLERS:PATH ...
Print parameter(s) of cgroups.
  -r, --variable=NAME    one parameter; may be repeated
  -g CONTROLLERS         all parameters of these controllers
  -g CONTROLLERS:PATH    the same, of this cgroup
  -a, --all              all parameters of all controllers, as with neither -r nor -g
  -n                     no names of cgroups
  -v, --values-only      no names of parameters
{more}  -b                     accepted: paths always start at the root of the hierarchy
  -h, --help             this text
"""
_MORE = """\
  -1, --v1               names and values are cgroup v1's
  -2, --v2               names and values are cgroup v2's
  -i, --ignore-unmappable
                         leave out what the version here does not have
"""
_LONG = {"variable": "r:", "help": "h", "all": "a", "values-only": "v"}
_LONG_X = {"v1": "1", "v2": "2", "ignore-unmappable": "i", **_LONG}


class Wish:
    """What a command line asks for.

    Attributes:
        names: parameters.
        controllers: whose parameters are all wanted.
        groups: list[(controllers, path)] of ``-g CONTROLLERS:PATH``.
        every: all controllers.
        headers, labels: print the names of cgroups, and of parameters.
        version: v1 or v2, whose names and values they are; None for the ones here.
        lenient: leave out what has no counterpart.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.controllers: list[str] = []
        self.groups: list[tuple[list[str], str]] = []
        self.version: str | None = None
        self.headers = self.labels = True
        self.every = self.lenient = False


def cgget(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    return _main("cgget", argv, "r:hnvg:ab", _LONG)


def cgxget(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    return _main("cgxget", argv, "r:hnvg:a12ib", _LONG_X)


def _main(tool: str, argv: list[str], shorts: str, longs: dict[str, str]) -> int:
    if not argv:
        raise args.usage_error(tool)
    options, words = args.getopt(tool, shorts, longs, argv)
    wish = Wish()
    for key, value in options:
        if key == "h":
            more, versions = (_MORE, "12i") if tool == "cgxget" else ("", "")
            sys.stdout.write(_HELP.format(tool=tool, versions=versions, more=more))
            return 0
        _take(tool, wish, key, value)
    whole = bool(wish.every or wish.controllers or wish.groups)
    if (wish.names and whole) or (wish.groups and words):
        raise args.usage_error(tool)
    if not words and not wish.groups:
        raise args.usage_error(tool)
    # All is read before anything is printed: nothing half done stands on standard output.
    found: list[tuple[str, Values]] = []
    for path in words:
        found.append((path, _values(tool, wish, path)))
    for controllers, path in wish.groups:
        found.append((path, _of_controllers(tool, wish, controllers, path)))
    for path, values in found:
        _show(wish, path, values)
    return 0


def _take(tool: str, wish: Wish, key: str, value: str) -> None:
    if key == "r":
        try:
            parameters.controller_of(value)
        except InvalidValueError as e:
            line = f"{tool}: error parsing parameter name '{value}'; hint: {e.hint}"
            raise GiveUp(INVALID, line) from None
        wish.names.append(value)
    elif key == "g":
        controllers, colon, path = value.partition(":")
        names = [name for name in controllers.split(",") if name]
        if colon:
            wish.groups.append((names or [groups.CORE], path))
        else:
            wish.controllers += names
    elif key == "a":
        wish.every = True
    elif key == "n":
        wish.headers = False
    elif key == "v":
        wish.labels = False
    elif key in "12":
        wish.version = f"v{key}"
    elif key == "i":
        wish.lenient = True


def _show(wish: Wish, path: str, values: "Values") -> None:
    if wish.headers:
        sys.stdout.write(f"{path}:\n")
    for name, text in values:
        label = f"{name}: " if wish.labels else ""
        sys.stdout.write(label + "\n\t".join(text.split("\n")) + "\n")
    if wish.headers:
        sys.stdout.write("\n")


# ---- reading -------------------------------------------------------------------------------


def _values(tool: str, wish: Wish, path: str) -> "Values":
    """What is wanted of one cgroup."""
    if wish.names:
        found = []
        for name in wish.names:
            try:
                found += _one(tool, wish, name, path)
            except ClimitsError as e:
                raise _read_error(tool, name, path, e) from None
        return found
    if wish.controllers and not wish.every:
        return _of_controllers(tool, wish, wish.controllers, path)
    return _of_all(tool, wish, path)


def _one(tool: str, wish: Wish, name: str, path: str) -> "Values":
    place = Place.of(parameters.controller_of(name), path)
    here = place.hierarchy.version_name
    if wish.version in (None, here):
        try:
            return [(name, place.read(name))]
        except CgroupError as e:
            place.explain(name, e)
            raise
    from ...cgroup import translate

    if not translate.can_read(name, here=here):
        if wish.lenient:
            return []
        raise GiveUp(
            NO_COUNTERPART,
            f"{tool}: {name} has no counterpart on cgroup {here}, where its controller is; "
            "hint: -i leaves it out",
        )
    return [(name, translate.read(name, place.read, here=here))]


def _of_controllers(tool: str, wish: Wish, controllers: list[str], path: str) -> "Values":
    """All parameters of some controllers."""
    found: Values = []
    for controller in controllers:
        if controller == groups.EVERY:
            found += _of_all(tool, wish, path)
            continue
        try:
            found += _all_of(wish, Place.of(controller, path), controller)
        except ClimitsError as e:
            raise _read_error(tool, f"{controller}.", path, e) from None
    return found


def _of_all(tool: str, wish: Wish, path: str) -> "Values":
    """All parameters of every controller that the cgroup is under."""
    found: Values = []
    exists = False
    for hierarchy in current().hierarchies:
        try:
            directory = groups.open_group(hierarchy, path)
        except CgroupGoneError:
            continue
        except ClimitsError as e:
            raise GiveUp(REFUSED, f"{tool}: {tell(e)}") from None
        exists = True
        place = Place(hierarchy, directory, path)
        for controller in groups.ordered(hierarchy):
            found += _all_of(wish, place, controller)
    if not exists:
        raise GiveUp(REFUSED, f"{tool}: there is no cgroup '{path}' in any hierarchy")
    return found


def _all_of(wish: Wish, place: Place, controller: str) -> "Values":
    names = [
        n for n in groups.entries(place.directory) if n.partition(".")[0] == controller
    ]  # fmt: skip
    here = place.hierarchy.version_name
    if wish.version in (None, here):
        return [(name, _quietly(place, name)) for name in names]
    from ...cgroup import translate

    # What has no counterpart is no part of the other version's list.
    other = translate.names(names, here=here)
    return [(name, translate.read(name, place.read, here=here)) for name in other]


def _quietly(place: Place, name: str) -> str:
    """A value among many: one that may not be read is shown empty."""
    try:
        return place.read(name)
    except CgroupGoneError:
        raise
    except CgroupError as e:
        if e.errno in (errno.EACCES, errno.EPERM):
            return ""
        raise


def _read_error(tool: str, name: str, path: str, error: ClimitsError) -> GiveUp:
    if not isinstance(error, OSError):
        controller = name.partition(".")[0]
        where = f"cannot find controller '{controller}' in group '{path}'"
        return GiveUp(REFUSED, f"{tool}: {where}: {tell(error)}")
    return GiveUp(REFUSED, f"{tool}: variable file read failed: {tell(error)}")
