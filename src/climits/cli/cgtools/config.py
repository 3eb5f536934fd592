"""cgconfigparser: make what a configuration file describes."""

import os
import sys

from ...cgroup import files
from ...cgroup.files import Directory
from ...errors import ClimitsError, InvalidValueError
from . import args, config_file, groups, parameters
from .config_file import Config, Group
from .create import make_group, read_permission
from .main import complain
from .parameters import Place
from .permissions import KEEP, Permissions
from .status import MINUS_ONE, NO_PARAMETER, REFUSED, SYNTAX, GiveUp, status_of, tell

_HELP = """\
Usage: cgconfigparser [-h] [-l FILE] ... [-L DIRECTORY] ... [-a USER:GROUP]
                      [-t USER:GROUP] [-d MODE] [-f MODE] [-s MODE]
Mount the hierarchies and make the cgroups that configuration files describe.
  -l, --load=FILE        load this file
  -L, --load-directory=DIRECTORY
                         load the files of this directory, in the order of their names
  -a, -t, -d, -f, -s     owners and modes where a file says nothing, as in cgcreate
  -h, --help             this text
"""
_LONG = {
    "help": "h", "load": "l:", "load-directory": "L:", "task": "t:", "admin": "a:",
    "dperm": "d:", "fperm": "f:", "tperm": "s:",
}  # fmt: skip

_FIELDS = {
    ("task", "uid"): "task_uid", ("task", "gid"): "task_gid", ("task", "fperm"): "task_mode",
    ("admin", "uid"): "admin_uid", ("admin", "gid"): "admin_gid",
    ("admin", "dperm"): "dir_mode", ("admin", "fperm"): "file_mode",
}  # fmt: skip


def cgconfigparser(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    if not argv:
        raise args.usage_error("cgconfigparser")
    options, words = args.getopt("cgconfigparser", "hl:L:t:a:d:f:s:", _LONG, argv)
    defaults = Permissions()
    paths: list[str] = []
    for key, value in options:
        if key == "h":
            sys.stdout.write(_HELP)
            return 0
        if key == "l":
            paths.append(value)
        elif key == "L":
            paths += _files_of(value)
        else:
            try:
                read_permission("cgconfigparser", defaults, key, value)
            except InvalidValueError as e:
                sys.stdout.write(f"{e}\n")  # there, where scripts know it
                return MINUS_ONE
    if words:
        raise args.usage_error("cgconfigparser")
    status = 0
    loaded = []
    # All mounts before the first group: the hierarchies are looked at once.
    for path in paths:
        try:
            config = _read(path)
            _mount(config)
            loaded.append((path, config))
        except GiveUp as e:
            status = _tell(path, e, status)
    for path, config in loaded:
        try:
            _load(config, defaults)
        except GiveUp as e:
            status = _tell(path, e, status)
    return status


def _tell(path: str, error: GiveUp, before: int) -> int:
    """Tell an error and go on; the first one's status is what the tool ends with."""
    for line in error.lines:
        complain(f"cgconfigparser: error loading {path}: {line}")
    return before or error.status


def _files_of(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError as e:
        line = f"cgconfigparser: cannot open {directory}: {e.strerror}"
        raise GiveUp(1, line) from None
    return [path for name in names if os.path.isfile(path := f"{directory}/{name}")]


def _read(path: str) -> Config:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as e:
        raise GiveUp(REFUSED, e.strerror or str(e)) from None
    try:
        return config_file.parse(text, path)
    except InvalidValueError as e:
        raise GiveUp(SYNTAX, tell(e)) from None


def _mount(config: Config) -> None:
    if config.mounts:
        from . import mounting

        mounting.mount_all(config.mounts)


# ---- groups --------------------------------------------------------------------------------


def _load(config: Config, defaults: Permissions) -> None:
    made: list[str] = []
    try:
        for group in config.groups:
            permissions = _permissions(group.permissions or config.default, defaults)
            _make(group, config.namespaces, permissions, made)
    except (ClimitsError, GiveUp) as e:
        # Nothing half made stays; what was there before does.
        for directory in reversed(made):
            try:
                files.remove(directory)
            except ClimitsError:
                pass
        if isinstance(e, GiveUp):
            raise
        raise GiveUp(status_of(e), tell(e)) from None


def _make(
    group: Group, namespaces: dict[str, str], permissions: Permissions, made: list[str]
) -> None:
    if not group.controllers:
        raise InvalidValueError(
            f"group {group.name}: no controller", hint="write at least one, such as memory {}"
        )
    for controller, settings in group.controllers.items():
        hierarchy = groups.find(controller)
        path = f"{namespaces.get(controller, '')}/{group.name}"
        named = (controller,) if controller in hierarchy.controllers else ()
        made += make_group(hierarchy, path, named, permissions)
        directory = Directory(hierarchy.directory_path(groups.clean(path)))
        for name, text in settings:
            parameters.check_value(name, text)
            if not directory.has(name):
                raise GiveUp(NO_PARAMETER, f"group {group.name}: {controller} has no {name}")
        writes = [(name, text.strip()) for name, text in settings]
        parameters.write_all(Place(hierarchy, directory, path), writes)


def _permissions(wanted: "dict[tuple[str, str], str]", defaults: Permissions) -> Permissions:
    found = Permissions()
    for place, field in _FIELDS.items():
        text = wanted.get(place)
        value = getattr(defaults, field)
        if text is not None:
            if place[1] == "uid":
                value = args.read_owner("cgconfigparser", text)[0]
            elif place[1] == "gid":
                value = args.read_owner("cgconfigparser", f":{text}")[1]
            else:
                value = args.read_mode("cgconfigparser", text)
        elif wanted:
            value = KEEP  # a section counts as a whole
        setattr(found, field, value)
    return found
