"""What runs in a worker under limits when the call has come from another machine.

Calls and what they return travel as bytes: the process of Dask passes them on unread, so that
neither the memory nor the errors of somebody's objects are its own.
"""

import pickle

from ..pool.worker import Packed, pack_any, pack_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    #: The stream of a pickle, and the buffers beside it.
    Frames = tuple[bytes, list[bytes]]


class TaskFailed(Exception):
    """A function has raised.

    Attributes:
        frames: the error and its traceback as text, packed.
    """

    def __init__(self, frames: "Frames") -> None:
        super().__init__("the function has raised an error")
        self.frames = frames

    def __reduce__(self) -> "tuple[Any, ...]":
        return TaskFailed, (self.frames,)


def frames_of(packed: Packed) -> "Frames":
    """A pickle as plain bytes."""
    return b"".join(packed.parts), [bytes(buffer) for buffer in packed.buffers]


def load(frames: "Frames") -> "Any":
    """What was packed; buffers can be written to, as those of the original could."""
    stream, buffers = frames
    return pickle.loads(stream, buffers=[bytearray(buffer) for buffer in buffers])


def call(frames: "Frames") -> "Frames":
    """Call a function.

    Args:
        frames: of (function, arguments, keyword arguments).

    Returns:
        Of what it returned.

    Raises:
        TaskFailed: it raised.
    """
    try:
        function, args, kwargs = load(frames)
        return frames_of(pack_any(function(*args, **kwargs)))
    except BaseException as e:
        # Without its traceback and its causes, which this process alone could tell.
        raise TaskFailed(frames_of(pack_error(e))) from None


def call_each(function: "Callable[..., Any]", rows: "Iterable[tuple[Any, ...]]") -> "list[Any]":
    """Call a function for each of some rows of arguments: a piece of a map."""
    return [function(*row) for row in rows]
