r"""Whose cgroup is it: told by its path, since each tool names its cgroups in its own way.

What is recognised, and where it was read:

====================================================  ==========================================
docker/ID, docker-ID.scope, ANY/ID                    moby: daemon/daemon_unix.go, oci_linux.go
default/NAME, k8s.io/ID, nerdctl-ID.scope             containerd: cmd/ctr, oci/spec.go; nerdctl
cri-containerd-ID.scope                               containerd: internal/cri (getCgroupsPath)
crio-ID.scope, crio-conmon-ID.scope                   cri-o: internal/config/cgmgr
libpod-ID.scope, libpod_parent/libpod-ID,             podman: libpod/container_internal_linux.go,
libpod-conmon-ID.scope, libpod_pod_ID.slice           oci_conmon_linux.go, runtime_pod_linux.go
lxc.payload.NAME, lxc.monitor.NAME, lxc/NAME          lxc: src/lxc/cgroups/cgfsng.c
kubepods/burstable/podUID, kubepods-…-podUID.slice    kubelet: cm/cgroup_manager_linux.go
NAME.service, NAME.scope, NAME.slice, ``\x2d``        systemd: systemd.unit(5), systemd.slice(5)
slurm/uid_N/job_N/step_N, slurmstepd.scope/job_N      slurm: cgroup.html, cgroup_v2.html
climits/NAME                                          climits.cgroup.homes
====================================================  ==========================================

Where several fit, as with a pod in a container that plays a node (kind), the innermost is told.
"""

import re

from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Digits of an id that `docker ps` and its like show.
_SHORT = 12
#: What starts the name of a container's scope or directory: (runtime, whether it is its monitor).
_PREFIXES = {
    "docker": ("docker", False),
    "containerd": ("containerd", False),
    "cri-containerd": ("containerd", False),
    "nerdctl": ("containerd", False),
    "crio": ("cri-o", False),
    "crio-conmon": ("cri-o", True),
    "libpod": ("podman", False),
    "libpod-payload": ("podman", False),
    "libpod-conmon": ("podman", True),
}
#: Parents of plain ids, and whose they are.
_PARENTS = {
    "docker": "docker",
    "default": "containerd",  # namespaces of containerd
    "k8s.io": "containerd",
    "moby": "containerd",
}
_NAMESPACES = ("default", "k8s.io")
_CONTAINER = re.compile(
    r"(?:.*:)?(docker|(?:cri-)?containerd|nerdctl|crio-conmon|crio|libpod-payload|libpod-conmon|libpod)"
    r"[-:]([0-9a-f]{64})(?:\.scope)?"
)
#: Above the containers and pods of a podman that works without systemd.
_PODMAN = "libpod_parent"
_ID = re.compile(r"[0-9a-f]{64}")
_KUBE_SLICE = re.compile(
    r"(?:.*-)?kubepods(?:-(burstable|besteffort))?(?:-pod([0-9a-f_-]+))?\.slice(:.*)?"
)
_KUBE_POD = re.compile(r"pod([0-9a-f-]{32,36})")
_PODMAN_POD = re.compile(r"(?:.*-)?libpod_pod_([0-9a-f]{64})(?:\.slice)?")
_LXC = re.compile(r"lxc(?:\.(payload|monitor|pivot)(?:\.(.+))?)?")
_SLURM = re.compile(r"slurm(?:_.+)?|(?:.+_)?slurmstepd\.scope")
_SLURM_LEVEL = re.compile(r"(uid|job|step|task)_(.+)")
_UNIT = re.compile(r"_?(.+\.(?:service|scope|slice|mount|socket|swap))")
_USER = re.compile(r"user-(\d+)\.slice|user@(\d+)\.service")
_ESCAPED = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")


class Owner(Record):
    """Whose a cgroup is.

    Attributes:
        runtime: docker, containerd, cri-o, podman, lxc, kubernetes, systemd, slurm, climits, or
            "" when the path tells nothing.
        name: short, for people: web.service, job 12 step 0, the first 12 digits of a container's
            id; with what lies below it, such as web.service/worker.
        id: of the container, in full.
        unit: of systemd, as it is written in the path: a service, a scope, ...
        slice: of systemd, the innermost.
        pod: its uid (Kubernetes) or id (podman).
        qos: of a Kubernetes pod: guaranteed, burstable or besteffort.
        container: its name where the path has it, else the first 12 digits of its id.
        job, step: of Slurm.
        user: number of the user whose it is, as text.
    """

    runtime: str
    name: str
    id: "str | None" = None
    unit: "str | None" = None
    slice: "str | None" = None
    pod: "str | None" = None
    qos: "str | None" = None
    container: "str | None" = None
    job: "str | None" = None
    step: "str | None" = None
    user: "str | None" = None


def owner_of(path: str) -> Owner:
    """Tell by the path alone; whatever the path, there is an answer.

    Args:
        path: such as /system.slice/docker-0123....scope, in any hierarchy.
    """
    reader = _Reader()
    for part in path.split("/"):
        if part:
            reader.read(part)
    return reader.owner()


class _Reader:
    """Goes down a path, component by component."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.runtime = ""
        self.name = ""
        self.tail: list[str] = []  # what lies below that which has the name
        self.above: list[str] = []
        self.awaited: Callable[[str], None] | None = None  # takes the name that follows
        self.looks = (
            self._slurm,
            self._kubernetes,
            self._podman_pod,
            self._container,
            self._lxc,
            self._climits,
            self._systemd,
        )

    def read(self, part: str) -> None:
        """Take one more component into account."""
        take, self.awaited = self.awaited, None
        if take is not None and not _CONTAINER.fullmatch(part):
            take(part)
        elif not any(look(part) for look in self.looks):
            self.tail.append(part)
        self.above.append(part)

    def owner(self) -> Owner:
        """What is known at the end of the path."""
        name = "/".join([self.name, *self.tail] if self.name else self.tail)
        return Owner(runtime=self.runtime, name=name or "/", **self.facts)

    def _become(self, runtime: str, name: str, **facts: str) -> bool:
        self.runtime, self.name, self.tail = runtime, name, []
        self.facts.update(facts)
        return True

    def _slurm(self, part: str) -> bool:
        if _SLURM.fullmatch(part) and (part.endswith(".scope") or not self.above):
            return self._become("slurm", "slurm")
        level = self.runtime == "slurm" and _SLURM_LEVEL.fullmatch(part)
        if not level:
            return False
        kind, number = level.groups()
        kind = "user" if kind == "uid" else kind
        below = f"{self.name} " if kind in ("step", "task") else ""
        facts = {} if kind == "task" else {kind: number}
        return self._become("slurm", f"{below}{kind} {number}", **facts)

    def _kubernetes(self, part: str) -> bool:
        found = _KUBE_SLICE.fullmatch(part)
        if found or part == "kubepods":
            qos, uid, rest = found.groups() if found else (None, None, None)
            if self.runtime != "kubernetes":
                self.facts = {}  # of the container, or unit, that plays the node
                self._become("kubernetes", "kubepods")
            if found:
                self.facts["slice"] = part.partition(":")[0]
            if qos:
                self._become("kubernetes", f"kubepods {qos}", qos=qos)
            if uid:
                self._pod(uid.replace("_", "-"))
            return not rest or self._container(part)
        if self.runtime != "kubernetes" or "id" in self.facts:
            return False
        if part in ("burstable", "besteffort") and "pod" not in self.facts:
            return self._become("kubernetes", f"kubepods {part}", qos=part)
        pod = _KUBE_POD.fullmatch(part)
        return bool(pod and self._pod(pod[1]))

    def _pod(self, uid: str) -> bool:
        self.facts.setdefault("qos", "guaranteed")  # it has no directory of its own
        return self._become("kubernetes", f"pod {uid[:8]}", pod=uid)

    def _container(self, part: str) -> bool:
        above = self.above[-1] if self.above else ""
        found = _CONTAINER.fullmatch(part)
        if found:
            (runtime, monitor), number = _PREFIXES[found[1]], found[2]
            if part.endswith(".scope"):
                self.facts["unit"] = part
        elif _ID.fullmatch(part):
            runtime, monitor, number = _PARENTS.get(above, "docker"), False, part
        elif self.above in ([namespace] for namespace in _NAMESPACES):
            return self._become("containerd", part, id=part, container=part)
        else:
            return part == "docker" and not self.above and self._become(part, part)
        short = number[:_SHORT]
        name = f"{short} (monitor)" if monitor else short
        if self.runtime == "kubernetes" and above not in _PARENTS:
            runtime, name = "kubernetes", f"{self.facts.get('pod', '')[:8] or 'kubepods'}/{name}"
        return self._become(runtime, name, id=number, container=short)

    def _podman_pod(self, part: str) -> bool:
        if part == _PODMAN and not self.above:
            return self._become("podman", part)
        found = _PODMAN_POD.fullmatch(part)
        number = found[1] if found else part
        if not found and not (_ID.fullmatch(part) and self.above == [_PODMAN]):
            return False
        if part.endswith(".slice"):
            self.facts["slice"] = part
        return self._become("podman", f"pod {number[:_SHORT]}", pod=number)

    def _lxc(self, part: str) -> bool:
        found = _LXC.fullmatch(part)
        if not found or (part == "lxc" and self.above and self.runtime != "lxc"):
            return False
        kind, name = found.groups()

        def take(name: str) -> None:
            text = f"{name} ({kind})" if kind in ("monitor", "pivot") else name
            self._become("lxc", text, container=name)

        if name:
            take(name)
        else:
            self._become("lxc", part)
            self.awaited = take
        return True

    def _climits(self, part: str) -> bool:
        if part != "climits" or "container" in self.facts:
            return False
        self._become("climits", part)
        self.awaited = self._climits_name
        return True

    def _climits_name(self, name: str) -> None:
        self._become("climits", name)

    def _systemd(self, part: str) -> bool:
        found = _UNIT.fullmatch(part)
        if not found or "container" in self.facts:  # of a systemd that runs in it
            return False
        unit = found[1]
        user = _USER.fullmatch(unit)
        if user:
            self.facts["user"] = user[1] or user[2]
        return self._become(
            "systemd", unescape(unit), **{"slice" if unit.endswith(".slice") else "unit": unit}
        )


def unescape(unit: str) -> str:
    r"""The name of a systemd unit for people: ``\x2d`` is a hyphen.

    Source: systemd.unit(5), "String Escaping for Inclusion in Unit Names".
    """
    if "\\x" not in unit:
        return unit
    return _ESCAPED.sub(
        lambda found: bytes.fromhex(found[0].replace("\\x", "")).decode(errors="replace"), unit
    )
