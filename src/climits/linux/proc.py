"""Facts about processes, from /proc.

Source: Documentation/filesystems/proc.rst, proc(5).
"""

import os

_PF_EXITING = 0x4
_PF_KTHREAD = 0x20_0000
_SIGKILL_PENDING = 1 << 8


def start_time(pid: "int | str" = "self") -> "int | None":
    """Clock ticks from boot to the start of a process; with the pid it names a process for ever.

    Returns:
        Ticks, or None when there is no such process, or only its zombie.
    """
    stat = _stat(pid)
    return None if stat is None or stat[0] in b"ZX" else int(stat[19])


def is_dying(pid: int) -> bool:
    """Whether a process has ended, is ending, or has been killed and does not know it yet."""
    stat = _stat(pid)
    if stat is None or stat[0] in b"ZX":
        return True
    return bool(int(stat[6]) & _PF_EXITING or int(stat[28]) & _SIGKILL_PENDING)


def _stat(pid: "int | str") -> "list[bytes] | None":
    """/proc/PID/stat from the state on, which proc(5) counts as field 3."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name may hold spaces and parentheses: count from the last one.
            stat = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return stat if len(stat) > 28 else None


def pid_namespace() -> int:
    """Inode number of our pid namespace: pids mean something only within one; 0 if hidden."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def cgroup_paths(pid: "int | str" = "self") -> dict[str, str]:
    """The cgroup of a process in each hierarchy.

    Returns:
        Path by controller name; "" for v2; ``name=NAME`` for a hierarchy without controllers.
    """
    paths: dict[str, str] = {}
    for _, controllers, path in cgroup_entries(cgroup_text(pid)):
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def cgroup_text(task: "int | str" = "self") -> bytes:
    """Content of /proc/PID/cgroup: the same for two tasks that are in the same cgroups.

    Args:
        task: a pid, or PID/task/TID for a thread.

    Raises:
        OSError: no such task.
    """
    with open(f"/proc/{task}/cgroup", "rb") as file:
        return file.read()


def cgroup_entries(text: bytes) -> "list[tuple[int, str, str]]":
    """What cgroup_text holds: (hierarchy id, its controllers joined by commas, path), as it stands.

    The id of v2 is 0 and its controllers are "".  A removed cgroup's path ends with " (deleted)".
    """
    out = []
    for line in os.fsdecode(text).split("\n")[:-1]:
        number, controllers, path = line.split(":", 2)
        out.append((int(number), controllers, path))
    return out


def kernel_version() -> tuple[int, int]:
    """Major and minor number of the kernel that runs."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int(minor.partition("-")[0])


def memory_total() -> int:
    """RAM of this machine, bytes."""
    with open("/proc/meminfo", "rb") as file:
        return int(file.readline().split()[1]) * 1024


def swap_is_active() -> bool:
    """Whether the machine has any swap switched on."""
    try:
        with open("/proc/swaps", "rb") as file:
            return len(file.readlines()) > 1
    except OSError:
        return False


def command_name(pid: int) -> "str | None":
    """First 15 bytes of the name of a process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return None


def processes() -> list[int]:
    """Pids of all processes that can be seen, in order."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def threads(pid: int) -> list[int]:
    """Thread ids of a process, in order; empty when it is gone."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return []


def summary(pid: int) -> "tuple[str, str, int, int, int, bool] | None":
    """What one file tells of a process, at the least cost.

    Returns:
        (name, state letter, parent's pid, threads, resident bytes, whether it is a kernel thread);
        None when it is gone.  The resident size may be a few pages per CPU behind.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            head, _, tail = file.read().rpartition(b")")
    except OSError:
        return None
    f = tail.split()
    name = head.partition(b"(")[2].decode(errors="replace")
    resident = int(f[21]) * os.sysconf("SC_PAGE_SIZE")
    return name, f[0].decode(), int(f[1]), int(f[17]), resident, bool(int(f[6]) & _PF_KTHREAD)


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status: value by name, such as ``RssAnon: "112 kB"``; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            pairs = (line.partition(":") for line in file)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty for kernel threads, zombies and when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            data = file.read()
    except OSError:
        return []
    return [os.fsdecode(word) for word in data.removesuffix(b"\0").split(b"\0")] if data else []


def namespaces(pid: "int | str" = "self") -> dict[str, int]:
    """Inode number of each namespace of a process by kind; what we may not see is left out.

    Source: namespaces(7).
    """
    found: dict[str, int] = {}
    try:
        for kind in sorted(os.listdir(f"/proc/{pid}/ns")):
            if not kind.endswith("_for_children"):
                found[kind] = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        pass
    return found
