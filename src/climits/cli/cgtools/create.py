"""cgcreate: make cgroups."""

import sys

from ...cgroup.files import Directory
from ...errors import InvalidValueError
from . import args, groups
from .args import Spec
from .permissions import Permissions
from .status import MINUS_ONE, USAGE, GiveUp, status_of, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...cgroup.layout import Hierarchy

_HELP = """\
Usage: cgcreate [-hb] [-a USER:GROUP] [-t USER:GROUP] [-d MODE] [-f MODE] [-s MODE]
                -g CONTROLLERS:PATH [-g ...]
Make cgroups, and those above them where they are missing.
  -g CONTROLLERS:PATH    what to make, and where: memory,cpu:/a/b; *:/a/b in every
                         hierarchy; :/a/b in the v2 hierarchy with no controller
  -a, --admin=USER:GROUP owner of the directory and of its files
  -t, --task=USER:GROUP  owner of the file by which processes are moved in
  -d, --dperm=MODE       mode of the directory, octal
  -f, --fperm=MODE       mode of the files; nobody gets more than the owner has
  -s, --tperm=MODE       mode of the file by which processes are moved in
  -b                     accepted: paths always start at the root of the hierarchy
  -h, --help             this text
"""
_LONG = {
    "help": "h", "task": "t:", "admin": "a:", "dperm": "d:", "fperm": "f:", "tperm": "s:",
}  # fmt: skip


def cgcreate(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    if not argv:
        raise args.usage_error("cgcreate")
    options, words = args.getopt("cgcreate", "a:t:g:hd:f:s:b", _LONG, argv)
    specs: list[Spec] = []
    permissions = Permissions()
    for key, value in options:
        if key == "h":
            sys.stdout.write(_HELP)
            return 0
        if key == "g":
            spec = args.read_spec(value)
            if spec is None:
                cause = f"cgroup controller and path parsing failed ({value})"
                raise GiveUp(USAGE, f"cgcreate: {cause}")
            specs.append(spec)
        elif key != "b":
            try:
                read_permission("cgcreate", permissions, key, value)
            except InvalidValueError as e:
                sys.stdout.write(f"{e}\n")  # there, where scripts know it
                return MINUS_ONE
    if words:
        raise GiveUp(USAGE, f"cgcreate: wrong arguments ({words[0]})")
    for spec in specs:
        try:
            for hierarchy, controllers in groups.hierarchies(spec).items():
                make_group(hierarchy, spec.path, controllers, permissions)
        except (OSError, InvalidValueError, NotImplementedError) as e:
            raise GiveUp(
                status_of(e), f"cgcreate: can't create cgroup {spec.path}: {tell(e)}"
            ) from None
    return 0


def read_permission(tool: str, permissions: Permissions, key: str, value: str) -> None:
    """Take in one of the options a, t, d, f, s.

    Raises:
        InvalidValueError: no mode.
        GiveUp: an unknown user or group.
    """
    if key == "a":
        permissions.admin_uid, permissions.admin_gid = args.read_owner(tool, value)
    elif key == "t":
        permissions.task_uid, permissions.task_gid = args.read_owner(tool, value)
    else:
        field = {"d": "dir_mode", "f": "file_mode", "s": "task_mode"}[key]
        setattr(permissions, field, args.read_mode(tool, value))


def make_group(
    hierarchy: "Hierarchy", text: str, controllers: tuple[str, ...], permissions: Permissions
) -> list[str]:
    """Make one cgroup in one hierarchy; returns the directories that were not there."""
    path = groups.clean(text)
    made = groups.make(hierarchy, path, controllers)
    directory = Directory(hierarchy.directory_path(path))
    permissions.apply(hierarchy, directory)
    return made
