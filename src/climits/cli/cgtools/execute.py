"""cgexec and cgclassify: put processes into cgroups."""

import sys

from ...errors import CgroupError, ClimitsError, LaunchError
from ...launch.replace import replace
from . import args, groups
from .args import Spec
from .main import complain
from .parameters import Place
from .status import MINUS_ONE, USAGE, GiveUp, status_of, tell

_HELP_EXEC = """\
Usage: cgexec [-hb] [-g CONTROLLERS:PATH] ... [--sticky] COMMAND [ARGUMENTS]
Run a command in cgroups that exist.
  -g CONTROLLERS:PATH    which; may be repeated; *:PATH in every hierarchy,
                         :PATH in the v2 hierarchy
  --sticky               accepted: climits runs no daemon that would move it on
  -b                     accepted: paths always start at the root of the hierarchy
  -h, --help             this text
Without -g the cgroups are those that /etc/cgrules.conf names for the user.
"""
_HELP_CLASSIFY = """\
Usage: cgclassify [-hb] [-g CONTROLLERS:PATH] ... [--sticky | --cancel-sticky] PID ...
Move running processes, with all their threads, into cgroups that exist.
  -g CONTROLLERS:PATH    which; may be repeated; *:PATH in every hierarchy,
                         :PATH in the v2 hierarchy
  --sticky, --cancel-sticky
                         accepted: climits runs no daemon that would move them on
  -b                     accepted: paths always start at the root of the hierarchy
  -h, --help             this text
Without -g the cgroups are those that /etc/cgrules.conf names for the owner.
"""


def cgexec(argv: list[str]) -> int:
    """Run the tool; it returns only where it fails or shows its help."""
    longs = {"sticky": "s", "help": "h"}
    options, words = args.getopt("cgexec", "+g:shb", longs, argv, "--help")
    if any(key == "h" for key, _ in options):
        sys.stdout.write(_HELP_EXEC)
        return 0
    specs = _specs(options)
    if not words:
        raise args.usage_error("cgexec", help_flag="--help")
    try:
        if not specs:
            from . import rules

            specs = rules.for_command(words[0])
        for place in _targets(specs):
            _write(place, place.hierarchy.join_file, "0")
    except ClimitsError as e:
        raise GiveUp(status_of(e), f"cgexec: cgroup change of group failed: {tell(e)}") from None
    sys.stdout.flush()
    try:
        replace(words)
    except LaunchError as e:
        raise GiveUp(MINUS_ONE, f"cgexec: {tell(e)}") from None


def cgclassify(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    if not argv:
        raise args.usage_error("cgclassify")
    longs = {"sticky": "s", "cancel-sticky": "u", "help": "h"}
    options, words = args.getopt("cgclassify", "+g:shb", longs, argv)
    if any(key == "h" for key, _ in options):
        sys.stdout.write(_HELP_CLASSIFY)
        return 0
    specs = _specs(options)
    status = 0
    for word in words:
        if not (word.isascii() and word.isdigit()) or not 0 < int(word[:12]) < 1 << 31:
            complain(f"Error: {word} is not valid pid.")
            status = 2
            continue
        try:
            _classify(int(word), specs)
        except ClimitsError as e:
            complain(f"Error changing group of pid {word}: {tell(e)}")
            status = 1
        except GiveUp as e:
            for line in e.lines:
                complain(line)
            status = 1
    return status


def _classify(pid: int, specs: list[Spec]) -> None:
    if not specs:
        from . import rules

        specs = rules.for_process(pid)
    for place in _targets(specs):
        _write(place, "cgroup.procs", str(pid))


def _write(place: Place, file: str, text: str) -> None:
    try:
        place.directory.write(file, text)
    except CgroupError as e:
        place.explain(file, e)
        raise


def _specs(options: "list[tuple[str, str]]") -> list[Spec]:
    specs = []
    for key, value in options:
        if key == "g":
            spec = args.read_spec(value)
            if spec is None:
                raise GiveUp(USAGE, f"cgroup controller and path parsing failed ({value})")
            specs.append(spec)
    return specs


def _targets(specs: list[Spec]) -> list[Place]:
    """All cgroups that are named, opened: nothing is moved where one is missing.

    Raises:
        UnsupportedError, CgroupGoneError: a controller or a cgroup is not there.
    """
    found = []
    for spec in specs:
        for hierarchy, controllers in groups.hierarchies(spec).items():
            directory = groups.open_group(hierarchy, spec.path)
            groups.check_controllers(directory, hierarchy, controllers)
            found.append(Place(hierarchy, directory, spec.path))
    return found
