"""Compute something in a process of its own, which takes what that needed with it.

For processes that live for months: what a parser imports and allocates in them stays, as Python's
allocator seldom finds a whole arena to give back.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def compute_apart(function: "Callable[[bytes], bytes]", data: bytes) -> "bytes | None":
    """What a function makes of some bytes, computed in a child.

    Only for a process with one thread: a fork leaves the locks of the others as they are.

    Returns:
        function(data); None where that failed, in any way: then compute it here, to see why.
    """
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:  # no more processes, or no memory for one
        os.close(reading)
        os.close(writing)
        return None
    if not child:
        status = 1
        try:
            with open(writing, "wb") as file:
                file.write(function(data))
            status = 0
        finally:
            os._exit(status)  # with no word: the parent will meet the same error, and tell it
    try:
        os.close(writing)
        with open(reading, "rb") as file:
            result = file.read()
    finally:
        _, status = os.waitpid(child, 0)
    return None if status else result
