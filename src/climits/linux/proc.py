"""Facts about processes, from /proc.

Source: Documentation/filesystems/proc.rst, proc(5).
"""

import os

_PF_EXITING = 0x4
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
    with open(f"/proc/{pid}/cgroup", "rb") as file:
        text = os.fsdecode(file.read())
    for line in text.split("\n")[:-1]:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


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
