"""Running in a cgroup that exists (``--root``), as the original program did."""

from ..cgroup import placement, systemd
from ..cgroup.files import Directory
from ..cgroup.group import Cgroup
from ..cgroup.placement import Part
from ..errors import CgroupGoneError
from .spec import Spec


def use_existing(spec: Spec) -> Cgroup:
    """The cgroup that `spec.root` names, with one of our own where that is not; see exists_in.

    On a unified host there is but one hierarchy: the program is then followed by its pid alone.

    Raises:
        CgroupGoneError: it is not there.
        CgroupError: a limit could not be set; nothing is left behind.
    """
    assert spec.root is not None
    parts: list[Part] = []
    missing = []
    for hierarchy, controllers in spec.hierarchies:
        if not spec.exists_in(hierarchy, controllers):
            missing.append((hierarchy, controllers))
            continue
        try:
            systemd.come_near(hierarchy, spec.root)
            directory = Directory(hierarchy.directory_path(spec.root))
            parts.append(Part(hierarchy, directory, made=False))
        except CgroupGoneError as e:
            if spec.joins and not controllers:
                continue  # nothing tracks the container there
            e.hint = "make it first, or leave root out to have one made"
            raise
    path, name = spec.root, spec.made_up_name()
    if missing:
        parts += placement.make(missing, spec.parent, name)
        if any("memory" in controllers for _, controllers in missing):
            path = f"{spec.parent}/{name}"
    group = Cgroup(path, parts)
    try:
        group.set_limits(spec.limits)
    except BaseException:
        group.remove_made()
        raise
    return group
