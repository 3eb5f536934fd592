from typing import Any

def spawn(
    steps: tuple[Any, ...],
    paths: tuple[bytes, ...],
    argv: tuple[bytes, ...],
    envp: tuple[bytes, ...],
    flags: int,
    cgroup_fd: int,
    sigmask: int,
    /,
) -> tuple[int, int]: ...
def signalfd(sigmask: int, /) -> int: ...
def address(data: bytes, /) -> int: ...

class Keeper:
    def __init__(self, fd: int, /) -> None: ...
    @property
    def fd(self) -> int: ...
