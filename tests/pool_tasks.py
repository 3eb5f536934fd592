"""What the workers of test_pool run: a module that is quick to import."""

import ctypes
import os
import pickle
import subprocess
import time

import climits

MIB = 1 << 20


def square(x):
    return x * x


def add(a, b, *, c=0):
    return a + b + c


def pid():
    return os.getpid()


def fill(mib):
    """Touch so many MiB and give them back."""
    return len(bytearray(mib * MIB))


def crash():
    ctypes.string_at(0)


def leave(status):
    os._exit(status)


def kill_self(number):
    os.kill(os.getpid(), number)
    time.sleep(60)


def fail(text):
    raise KeyError(text)


class Awkward(Exception):
    """Pickles, and cannot be made again."""

    def __init__(self, a, b):
        super().__init__(f"{a} {b}")


def fail_awkwardly():
    raise Awkward(1, 2)


def nap(seconds):
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic()


def same(value):
    return value


_kept = []


def keep(mib):
    _kept.append(bytearray(mib * MIB))
    return os.getpid()


_set_up = []


def set_up(value):
    _set_up.append(value)


def is_set_up():
    return _set_up


def run_child(hog, mib):
    subprocess.run([hog, "alloc", str(mib)], check=True, stdout=subprocess.DEVNULL)


def spare_lambda():
    return lambda: 7


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()


@climits.task(memory="200M")
def roomy(mib):
    return fill(mib)


@climits.limited(memory="64M")
def bounded(mib):
    return fill(mib), os.getpid()


class Buffered:
    """Its bytes travel beside the pickle (protocol 5)."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Buffered, (pickle.PickleBuffer(self.data),)


def note(path, number):
    with open(path, "a") as file:
        file.write(f"{number}\n")
    return number


def fork_and(how):
    """The child leaves the task by another way than the process that runs it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return "parent"
    if how == "raise":
        raise KeyError("child")
    if how == "exit":
        raise SystemExit(0)
    return "child"


class Scale:
    """A callable with a state."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x
