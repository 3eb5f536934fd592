"""Names and values of parameters, from one cgroup version to the other.  Pure.

Two tables for each version that may be *here*: how a parameter of the other version is read from
the files here, and how it is written to them.  What is in neither table has no counterpart: the
memory controller's soft counters, the exact flags of v1 cpusets, statistics whose lines differ.

Scales: v1's 1024 cpu shares are v2's weight of 100.  v1 counts memory and swap together (memsw),
v2 apart.  The soft limit is v2's ``memory.high``, as cgxset has it.

Source: Documentation/admin-guide/cgroup-v1/{memory,cpusets}.rst, cgroup-v2.rst,
Documentation/scheduler/sched-bwc.rst; the choice of names is that of libcgroup's cgxget(1).
"""

import errno

from ..errors import CgroupError, InvalidValueError
from ..units import MAX_BYTES, UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Limit = int | float
    #: The files here, and what the parameter is, given what they hold.
    Reading = tuple[tuple[str, ...], Callable[..., str]]
    Fetch = Callable[[str], bytes | None]

V1, V2 = "v1", "v2"

LIMIT, MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
SOFT = "memory.soft_limit_in_bytes"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"

_SUFFIXES = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_NO_LIMIT = str(MAX_BYTES)


def kernel_size(text: str) -> "Limit | None":
    """A size as the kernel reads it: K, M, G, T, P, E are powers of 1024; no limit is -1 or max.

    Returns:
        Bytes, or UNLIMITED; None for what it would refuse.

    Source: mm/page_counter.c (page_counter_memparse), lib/cmdline.c (memparse).
    """
    text = text.strip()
    if text in ("-1", "max"):
        return UNLIMITED
    size = _plain_size(text)
    return UNLIMITED if size is not None and size >= MAX_BYTES else size


def overflows(text: str) -> bool:
    """Whether the kernel's parser, which counts modulo 2**64, would take a number for another."""
    size = _plain_size(text.strip())
    return size is not None and size >= 1 << 64


def _plain_size(text: str) -> "int | None":
    digits, power = text, 0
    if text[-1:].lower() in _SUFFIXES:
        digits, power = text[:-1], _SUFFIXES[text[-1:].lower()]
    if not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits[-40:]) * 1024**power if len(digits.lstrip("0")) <= 40 else 1 << 64


# ---- reading -------------------------------------------------------------------------------


def _same(text: str) -> str:
    return text


def _to_max(text: str) -> str:
    return "max" if kernel_size(text) == UNLIMITED else text


def _from_max(text: str) -> str:
    return _NO_LIMIT if text == "max" else text


def _swap_max(memory: str, both: str) -> str:
    limit, total = kernel_size(memory), kernel_size(both)
    if limit is None or total is None or UNLIMITED in (limit, total):
        return "max"
    return str(int(total - limit))


def _memsw(memory: str, swap: str) -> str:
    return _NO_LIMIT if "max" in (memory, swap) else str(int(memory) + int(swap))


def _sum(one: str, other: str) -> str:
    return str(int(one) + int(other))


def _difference(both: str, one: str) -> str:
    return str(max(int(both) - int(one), 0))


def _weight(shares: str) -> str:
    return str(int(shares) * 100 // 1024)


def _shares(weight: str) -> str:
    return str(int(weight) * 1024 // 100)


def _bandwidth(quota: str, period: str) -> str:
    return f"{'max' if quota.startswith('-') else quota} {period}"


def _quota(bandwidth: str) -> str:
    quota = bandwidth.split()[0]
    return "-1" if quota == "max" else quota


def _period(bandwidth: str) -> str:
    return bandwidth.split()[1]


def _partition(exclusive: str) -> str:
    return "root" if exclusive == "1" else "member"


def _exclusive(partition: str) -> str:
    # "root invalid (reason)" is a partition that the kernel could not form.
    return str(int(partition in ("root", "isolated")))


#: Parameters that have the same name, unit and meaning.
_EQUAL = (
    "cpu.idle", "cpuset.cpus", "cpuset.mems", "pids.max", "pids.current", "pids.peak",
    "pids.events",
)  # fmt: skip

_READ: "dict[str, dict[str, Reading]]" = {
    V1: {
        **{name: ((name,), _same) for name in _EQUAL},
        "memory.max": ((LIMIT,), _to_max),
        "memory.high": ((SOFT,), _to_max),
        "memory.current": (("memory.usage_in_bytes",), _same),
        "memory.peak": (("memory.max_usage_in_bytes",), _same),
        "memory.swap.max": ((LIMIT, MEMSW), _swap_max),
        "memory.swap.current": (
            ("memory.memsw.usage_in_bytes", "memory.usage_in_bytes"), _difference,
        ),
        "cpu.weight": (("cpu.shares",), _weight),
        "cpu.max": ((QUOTA, PERIOD), _bandwidth),
        "cpu.max.burst": (("cpu.cfs_burst_us",), _same),
        "cpuset.cpus.effective": (("cpuset.effective_cpus",), _same),
        "cpuset.mems.effective": (("cpuset.effective_mems",), _same),
        "cpuset.cpus.partition": (("cpuset.cpu_exclusive",), _partition),
    },
    V2: {
        **{name: ((name,), _same) for name in _EQUAL},
        LIMIT: (("memory.max",), _from_max),
        SOFT: (("memory.high",), _from_max),
        "memory.usage_in_bytes": (("memory.current",), _same),
        "memory.max_usage_in_bytes": (("memory.peak",), _same),
        MEMSW: (("memory.max", "memory.swap.max"), _memsw),
        "memory.memsw.usage_in_bytes": (("memory.current", "memory.swap.current"), _sum),
        "cpu.shares": (("cpu.weight",), _shares),
        QUOTA: (("cpu.max",), _quota),
        PERIOD: (("cpu.max",), _period),
        "cpu.cfs_burst_us": (("cpu.max.burst",), _same),
        "cpuset.effective_cpus": (("cpuset.cpus.effective",), _same),
        "cpuset.effective_mems": (("cpuset.mems.effective",), _same),
        "cpuset.cpu_exclusive": (("cpuset.cpus.partition",), _exclusive),
    },
}  # fmt: skip


def can_read(name: str, *, here: str) -> bool:
    """Whether a parameter of the other version can be told from the files of the one here."""
    return name in _READ[here]


def read(name: str, fetch: "Callable[[str], str]", *, here: str) -> str:
    """The value of a parameter of the other version.

    Args:
        name: such as memory.max where v1 is here.
        fetch: what a file here holds.
        here: v1 or v2.
    """
    files, convert = _READ[here][name]
    return convert(*[fetch(file) for file in files])


def names(files: "Iterable[str]", *, here: str) -> list[str]:
    """The parameters of the other version that files here tell; may be empty."""
    there = set(files)
    return [name for name, (needed, _) in _READ[here].items() if there.issuperset(needed)]


# ---- writing -------------------------------------------------------------------------------

_READ_ONLY = frozenset(
    name
    for table in _READ.values()
    for name in table
    if name.endswith((
        "current", "usage_in_bytes", ".peak", "effective", "effective_cpus", "effective_mems",
        ".events",
    ))
)  # fmt: skip


def can_write(name: str, *, here: str) -> bool:
    """Whether a parameter of the other version can be set through the files of the one here."""
    return name in _READ[here] and name not in _READ_ONLY


def write(settings: "list[tuple[str, str]]", fetch: "Fetch", *, here: str) -> list[tuple[str, str]]:
    """The writes that set parameters of the other version.

    Where one depends on another (swap on memory, a quota on its period) what is set in the same
    call counts, in whatever order, and else what is in force.

    Args:
        settings: (name, value), each of which can_write.
        fetch: what a file here holds; None where there is none.
        here: v1 or v2.

    Returns:
        (file, text), in order.

    Raises:
        InvalidValueError, CgroupError: a value means nothing, or not together with the others.
    """
    wanted = dict(settings)
    out: dict[str, str] = {}
    for name, text in wanted.items():
        writer = _WRITE[here].get(name)
        if writer is None:
            out[_READ[here][name][0][0]] = _VALUES.get(name, _same)(text)
        else:
            out.update(writer(wanted, fetch))
    return list(out.items())


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidValueError(f"{name}: {text}: not a number", value=text, hint="write digits")
    return int(text)


def _size(name: str, text: str) -> "Limit":
    size = kernel_size(text)
    if size is None:
        raise InvalidValueError(
            f"{name}: {text}: not a size",
            value=text,
            hint="write bytes, or a number with K, M or G; for no limit -1 on v1 and max on v2",
        )
    return size


def _now(fetch: "Fetch", file: str) -> "Limit | None":
    data = fetch(file)
    return None if data is None else kernel_size(data.decode())


def _v1_limits(wanted: dict[str, str], fetch: "Fetch") -> dict[str, str]:
    """memory.max and memory.swap.max, where memory and swap are counted together."""
    limit_now, total_now = _now(fetch, LIMIT), _now(fetch, MEMSW)
    limit = limit_now if limit_now is not None else UNLIMITED
    if "memory.max" in wanted:
        limit = _size("memory.max", wanted["memory.max"])
    if "memory.swap.max" in wanted:
        swap = _size("memory.swap.max", wanted["memory.swap.max"])
    elif None in (limit_now, total_now) or UNLIMITED in (limit_now, total_now):
        swap = UNLIMITED
    else:
        swap = (total_now or 0) - (limit_now or 0)
    if limit == UNLIMITED and swap != UNLIMITED and "memory.swap.max" in wanted:
        raise InvalidValueError(
            "memory.swap.max: cgroup v1 counts memory and swap together, and memory has no limit",
            value=swap,
            hint="set memory.max too",
        )
    out = {LIMIT: _v1_text(limit)} if "memory.max" in wanted else {}
    if total_now is not None or "memory.swap.max" in wanted:
        total = UNLIMITED if UNLIMITED in (limit, swap) else limit + swap
        # Both, even if one stays: the setter knows the order from the pair.
        out = {LIMIT: _v1_text(limit), MEMSW: _v1_text(total)}
    return out


def _v1_text(size: "Limit") -> str:
    return "-1" if size == UNLIMITED else str(int(size))


def _v2_swap(wanted: dict[str, str], fetch: "Fetch") -> dict[str, str]:
    """memory.memsw.limit_in_bytes, where swap is counted alone."""
    total = _size(MEMSW, wanted[MEMSW])
    limit = _size(LIMIT, wanted[LIMIT]) if LIMIT in wanted else _now(fetch, "memory.max") or 0
    if total < limit:
        raise CgroupError(
            f"{MEMSW} counts memory and swap together: it cannot be lower than {LIMIT}",
            value=total,
            errno=errno.EINVAL,
        )
    return {"memory.swap.max": "max" if total == UNLIMITED else str(int(total - limit))}


def _v1_bandwidth(wanted: dict[str, str], fetch: "Fetch") -> dict[str, str]:  # noqa: ARG001
    text = wanted["cpu.max"]
    quota, *period = text.split() or [""]
    if len(period) > 1:
        raise InvalidValueError(
            f"cpu.max: {text}: not a bandwidth", value=text, hint="write QUOTA PERIOD, or max"
        )
    out = {PERIOD: str(_number("cpu.max", period[0]))} if period else {}
    if quota == "max":  # first: then any period will do
        return {QUOTA: "-1", **out}
    return {**out, QUOTA: str(_number("cpu.max", quota))}


def _v2_bandwidth(wanted: dict[str, str], fetch: "Fetch") -> dict[str, str]:
    quota_now, period_now = (fetch("cpu.max") or b"max 100000").decode().split()
    quota = "max" if wanted.get(QUOTA, "").startswith("-") else wanted.get(QUOTA, quota_now)
    return {"cpu.max": f"{quota} {wanted.get(PERIOD, period_now)}"}


def _to_partition(text: str) -> str:
    if text not in ("0", "1"):
        raise InvalidValueError(
            f"cpuset.cpu_exclusive: {text}: not 0 or 1", value=text, hint="write 0 or 1"
        )
    return _partition(text)


def _to_exclusive(text: str) -> str:
    if text not in ("root", "member"):
        raise InvalidValueError(
            f"cpuset.cpus.partition: {text}: cgroup v1 has no such partition",
            value=text,
            hint="write root or member",
        )
    return _exclusive(text)


_WRITE: "dict[str, dict[str, Callable[[dict[str, str], Fetch], dict[str, str]]]]" = {
    V1: {"memory.max": _v1_limits, "memory.swap.max": _v1_limits, "cpu.max": _v1_bandwidth},
    V2: {MEMSW: _v2_swap, QUOTA: _v2_bandwidth, PERIOD: _v2_bandwidth},
}
#: Values of parameters that have one file here, by the name in the other version.
_VALUES: "dict[str, Callable[[str], str]]" = {
    LIMIT: _to_max,
    SOFT: _to_max,
    "memory.high": lambda text: "-1" if text == "max" else text,
    "cpu.shares": lambda text: str(max(_number("cpu.shares", text) * 100 // 1024, 1)),
    "cpu.weight": lambda text: _shares(str(_number("cpu.weight", text))),
    "cpuset.cpu_exclusive": _to_partition,
    "cpuset.cpus.partition": _to_exclusive,
}
