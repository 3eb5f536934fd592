"""Which CPUs and memory nodes a cgroup may use.

Source: Documentation/admin-guide/cgroup-v1/cpusets.rst, Documentation/admin-guide/cgroup-v2.rst.
"""

from .files import Directory


class Cpuset:
    """CPUs of one cgroup.  What is empty is the parent's."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def inherit(self, parent: Directory) -> None:
        """Make a new cgroup usable."""

    def refused(self, parent: Directory) -> str:
        """What to do when the kernel refuses a list."""
        data = parent.read_optional("cpuset.cpus.effective") or parent.read("cpuset.cpus")
        return f"write some of the CPUs that may be used here: {data.decode().strip()}"

    def writes(self, cpus: str) -> list[tuple[str, str]]:
        """The writes that confine it to a list of CPUs such as 0-1,3."""
        return [("cpuset.cpus", cpus)]


class CpusetV1(Cpuset):
    """On v1 CPUs and memory nodes start empty, and nothing may run in the cgroup then."""

    def inherit(self, parent: Directory) -> None:
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not self.directory.read(file).strip():
                self.directory.write(file, parent.read(file).decode().strip())
