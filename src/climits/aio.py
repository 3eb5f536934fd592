"""Events of a cgroup for asyncio, over the same descriptors.

::

    async for event in climits.aio.events("/climits/web", ["threshold=32M", "oom"]):
        print(event.kind, event.current)
"""

import asyncio

from .cgroup.events import Event, Events
from .cgroup.group import Cgroup
from .cgroup.triggers import Trigger, parse_trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


async def events(
    group: "Cgroup | str", triggers: "Iterable[Trigger | str]"
) -> "AsyncIterator[Event]":
    """Yield what happens in a cgroup, its removal last.

    Args:
        group: a Cgroup that stays open as long, or a path such as /climits/web.
        triggers: what to wait for: Trigger records, or text such as ``threshold=80%``.

    Raises:
        InvalidValueError: a text that is no trigger.
        CgroupGoneError: there is no such cgroup.
        UnsupportedError: this host or cgroup cannot be watched for one of them.
        CgroupError: the kernel refused.
    """
    wanted = [parse_trigger(t) if isinstance(t, str) else t for t in triggers]
    opened = Cgroup.open(group) if isinstance(group, str) else None
    try:
        with Events(opened or group, wanted) as source:  # type: ignore[arg-type]
            ready = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(source.fileno(), ready.set)
            try:
                while not source.removed:
                    await ready.wait()
                    ready.clear()
                    for event in source.read():
                        yield event
            finally:
                loop.remove_reader(source.fileno())
    finally:
        if opened:
            opened.close()
