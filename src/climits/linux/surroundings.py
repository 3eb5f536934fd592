"""Whether this is a container, of which kind, and what its cgroup namespace shows.

Facts only: what their makers leave, and what the kernel tells.

Source: systemd.io/CONTAINER_INTERFACE, cgroup_namespaces(7), kubernetes.io/docs (service accounts).
"""

import os

from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Inode number of the first cgroup namespace.
#: Source: include/linux/proc_ns.h (PROC_CGROUP_INIT_INO)
_FIRST_CGROUP_NAMESPACE = 0xEFFFFFFB
_SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"


class Surroundings(Record):
    """What is around this process.

    Attributes:
        kind: docker, podman, kubernetes, systemd-nspawn, lxc or another manager's name; None where
            nothing speaks of a container.
        mark: what speaks of it: a file, or a variable.
        private: the cgroup namespace is not the machine's first one.
    """

    kind: "str | None" = None
    mark: "str | None" = None
    private: bool


def detect(root: str = "", environ: "Mapping[str, str] | None" = None) -> Surroundings:
    """Look around.

    Args:
        root: directory that stands for /; for tests.
        environ: the environment; None is ours.
    """
    environ = os.environ if environ is None else environ
    kind, mark = _kind(root, environ)
    return Surroundings(kind=kind, mark=mark, private=_is_private(root))


def _kind(root: str, environ: "Mapping[str, str]") -> "tuple[str | None, str | None]":
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "kubernetes", "KUBERNETES_SERVICE_HOST"
    if os.path.isdir(f"{root}/var{_SERVICE_ACCOUNT}") or os.path.isdir(f"{root}{_SERVICE_ACCOUNT}"):
        return "kubernetes", f"/var{_SERVICE_ACCOUNT}"
    if os.path.exists(f"{root}/run/.containerenv"):
        return "podman", "/run/.containerenv"
    for path in ("/run/host/container-manager", "/run/systemd/container"):
        if name := _read(root + path).strip():
            return name, path
    if os.path.exists(f"{root}/.dockerenv"):
        return "docker", "/.dockerenv"
    for word in _read(f"{root}/proc/1/environ").split("\0"):
        if word.startswith("container=") and word != "container=":
            return word[10:], "the variable container of process 1"
    name = environ.get("container", "")
    return (name, "the variable container") if name else (None, None)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(8192)
    except OSError:
        return ""


def _is_private(root: str) -> bool:
    try:
        return os.stat(f"{root}/proc/self/ns/cgroup").st_ino != _FIRST_CGROUP_NAMESPACE
    except OSError:
        return False


#: What makes /sys/fs/cgroup writable, by kind; "" stands for all others.
_WRITABLE = {
    "docker": "docker run --cgroupns=private with --security-opt writable-cgroups=true "
    "(Docker from 28.0 on), or with --privileged",
    "podman": "podman run --cgroupns=private --security-opt unmask=/sys/fs/cgroup",
    "kubernetes": "a runtime class with cgroup_writable = true in containerd's configuration (from "
    "2.1 on), or securityContext: {privileged: true} in the container's spec",
    "systemd-nspawn": "systemd-nspawn without --read-only, and without a bind mount over "
    "/sys/fs/cgroup",
    "lxc": "lxc.mount.auto = cgroup:rw in the container's configuration",
    "": "a private cgroup namespace and a writable /sys/fs/cgroup (docker run --privileged "
    "--cgroupns=private, podman run --security-opt unmask=/sys/fs/cgroup)",
}
_PRIVATE = {
    "docker": "docker run --cgroupns=private",
    "podman": "podman run --cgroupns=private",
    "": "a cgroup namespace of the container's own (docker and podman: --cgroupns=private)",
}


def to_be_writable(kind: "str | None") -> str:
    """What to add to the command that starts a container, so that cgroups can be made in it."""
    return _WRITABLE.get(kind or "", _WRITABLE[""])


def to_be_private(kind: "str | None") -> str:
    """What to add to it so that the container sees its own part of the tree only."""
    return _PRIVATE.get(kind or "", _PRIVATE[""])
