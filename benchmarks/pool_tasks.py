"""What the workers run: a module of its own, that is quick to import and that all can find."""

import os
import time

_kept = []


def nothing(value):
    return value


def square(n):
    return n * n


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def began():
    """CLOCK_MONOTONIC in ns, as the task's first line sees it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def pid_and_fill(file):
    """Tell who we are, and touch memory until the kernel ends it."""
    with open(file, "w", encoding="ascii") as out:
        out.write(f"{os.getpid()}\n")
    while True:
        _kept.append(bytearray(1 << 20))


def join(file):
    """Move into a cgroup, by the file of it that takes a pid."""
    with open(file, "w", encoding="ascii") as out:
        out.write("0")


class Buffered:
    """Bytes in an object that offers them beside its pickle (protocol 5), as NumPy's arrays do."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        if protocol >= 5:
            import pickle  # here, since it takes longer to import than all of the rest

            return Buffered, (pickle.PickleBuffer(self.data),)
        return Buffered, (bytes(self.data),)
