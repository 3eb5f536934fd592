"""What the commands that work on one cgroup share."""

from ..cgroup.find import find_cgroup, is_process
from ..cgroup.group import Cgroup
from ..errors import InvalidValueError


def the_cgroup(words: list[str], command: str, *, acts: bool = False) -> Cgroup:
    """The cgroup of the only word.

    Args:
        words: what stood behind the options.
        command: for the error.
        acts: something will be done to every process of it: then of a process its memory cgroup is
            meant, by its path, and not whatever it is in elsewhere.

    Raises:
        InvalidValueError: no word, or more than one.
        CgroupGoneError: no such cgroup.
    """
    if not words:
        raise InvalidValueError("no cgroup was given", hint=f"climits {command} NAME")
    if len(words) > 1:
        raise InvalidValueError(
            f"{command} takes one cgroup: {words[1]}", hint=f"see climits {command} --help"
        )
    group = find_cgroup(words[0])
    if acts and is_process(words[0]) and group.path != "/":
        group.close()
        return Cgroup.open(group.path)
    return group
