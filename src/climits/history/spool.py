"""A run is recorded: one line is added to a file, and SQLite is left to whoever reads.

Loading sqlite3 and adding a row would make a `climits run` of 25 ms longer by 10.  So a run adds a
line of JSON to the spool, a file beside the database, with one write, and is 2 % longer for it
(see benchmarks/history.py); `climits history` and its kin, or the run that finds the spool grown,
take the lines over into SQLite (see store.py).

How no line is lost and none counts twice, with no lock that a stopped process could hold: whoever
takes the spool over renames it, takes the write permission away and only then reads it.  A writer
looks at the permission after its write: when it is gone, the line may have come too late, and is
written again into the new spool.  Each line carries a number of its own, and the database takes
each number once; so a reader that is killed in the middle is followed by one that begins anew.

Source: write(2): with O_APPEND each write of a local file goes to its end, as a whole.
"""

import errno
import os
import time

from ..errors import ClimitsError
from ..units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import Result

SPOOL = "spool"
#: Bytes of the spool at which the one who added to it takes it over: some 6,000 runs, and a tenth
#: of a second for that one.
FOLD_AT = 1024 * 1024
#: Lines are not made longer than this by a command's arguments, characters.
_MOST_ARGUMENTS = 8000

_FORMAT = 1
_TRIES = 100
_CAN_WRITE = 0o200


def state_directory() -> str:
    """Where the history is kept; it need not exist.

    ``$CLIMITS_STATE_DIR``, or ``climits`` in ``$XDG_STATE_HOME`` or in ``~/.local/state``.  For
    root it is /var/lib/climits where there is no home, or where the home is somebody else's, as
    sudo may leave it: files of root's in it would be in their way.
    """
    given = _variable(b"CLIMITS_STATE_DIR")
    if given:
        return given
    base, home = _variable(b"XDG_STATE_HOME"), _variable(b"HOME")
    is_root, has_home = os.geteuid() == 0, home.startswith("/") and home != "/"
    if is_root and has_home and _owner(home) != 0:
        return "/var/lib/climits"
    if not base.startswith("/"):
        if is_root and not has_home:
            return "/var/lib/climits"
        if not has_home:
            import pwd

            home = pwd.getpwuid(os.geteuid()).pw_dir
        base = f"{home}/.local/state"
    return f"{base}/climits"


def record(
    result: "Result", source: str = "run", *, name: "str | None" = None, cwd: "str | None" = None
) -> "str | None":
    """Record how a run ended.

    Args:
        result: of the run.
        source: which command ran it: run, container, enter, batch, supervise or measure.
        name: of the job or the program, where it has one.
        cwd: the directory that it ran in, where that is not ours.

    Returns:
        None, or a line that says why it could not be recorded.  Nothing is raised: whatever is the
        matter with the history, the run is worth more.
    """
    try:
        if is_off():
            return None
        directory = state_directory()
        size, added = append(directory, line(result, source, name, cwd))
        # At the mark and at each multiple of it, and not at every run beyond it, should it fail.
        if size // FOLD_AT != (size - added) // FOLD_AT:
            from .store import take_over

            return take_over(directory)
    except ClimitsError as e:
        return f"not in the history: {e}"
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        cause = os.strerror(e.errno or 0).lower()
        return f"not in the history: {where}{cause}; --no-history leaves it out"
    except Exception as e:  # a fault of ours: told, but no reason for a run to fail
        return f"not in the history: {type(e).__name__}: {e}"
    return None


def is_off() -> bool:
    """Whether nothing is to be recorded at all: its size, or its age, may be 0."""
    return "0" in (_variable(b"CLIMITS_HISTORY_SIZE"), _variable(b"CLIMITS_HISTORY_AGE"))


def _variable(name: bytes) -> str:
    """A variable of the environment; empty where there is none."""
    # What lies below os.environ, where it can be had: its public face takes ten times as long, and
    # a batch asks thousands of times.
    data: dict[bytes, bytes] = getattr(os.environ, "_data", None) or dict(os.environb)
    return os.fsdecode(data.get(name, b""))


def line(result: "Result", source: str, name: "str | None" = None, cwd: "str | None" = None) -> str:
    """A run as one line of JSON: an array in the order of climits.history.entries.COLUMNS."""
    texts = (
        source,
        name,
        _arguments(result.command),
        _cwd(cwd),
        result.verdict,
        result.memory_max,
    )
    numbers = [
        result.returncode,
        result.exit_status,
        result.memory_peak,
        result.swap_peak,
        result.oom_kill,
        result.duration,
        result.cpu_time,
        os.getuid(),
    ]
    # Of a list of numbers Python's own notation is JSON but for None, and takes one call.
    rest = repr(numbers).replace("None", "null")[1:]
    start = f"[{_FORMAT},{token()},{result.started or time.time()!r}"
    return f"{start},{','.join(map(_json, texts))},{rest}"


def token() -> int:
    """A number that no other run has, in 63 bits: the time in steps of 2 us, and some of the pid.

    They grow, so that the database adds to its end instead of everywhere.
    """
    return time.time_ns() >> 11 << 12 | os.getpid() & 0xFFF


def append(directory: str, text: str) -> "tuple[int, int]":
    """Add a line to the spool.

    Returns:
        (size of the spool behind it, bytes that were added).

    Raises:
        OSError: it could not be written.
    """
    path = f"{directory}/{SPOOL}"
    # An empty line before each: what a full disk cuts off then spoils no other.
    data = f"\n{text}\n".encode()
    for _ in range(_TRIES):
        fd = _open(path)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            stat = os.fstat(fd)
        except OSError as e:
            e.filename = path
            raise
        finally:
            os.close(fd)
        if stat.st_mode & _CAN_WRITE:
            return stat.st_size, len(data)
    raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)


def _open(path: str) -> int:
    # Command lines may hold passwords: for nobody else to read.  A FIFO must not make us wait, nor
    # a link send us elsewhere.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_directory(os.path.dirname(path))
        return os.open(path, flags, 0o600)


def make_directory(path: str) -> None:
    """Make the directory of the state, for its owner alone."""
    from pathlib import Path  # 4 ms, once in a user's life

    Path(path).mkdir(0o700, parents=True, exist_ok=True)


def _owner(path: str) -> int:
    try:
        return os.stat(path).st_uid
    except OSError:
        return -1


def _cwd(given: "str | None") -> "str | None":
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        return given
    return os.path.join(here, given) if given else here


def _arguments(command: "list[str]") -> "list[str]":
    left = _MOST_ARGUMENTS
    for i, word in enumerate(command):
        left -= len(word)
        if left < 0:
            return [*command[:i], f"{word[:left]}...", f"({len(command) - i - 1} more)"]
    return command


def _json(value: object) -> str:
    """A value as JSON, for the few types there are; `json` itself takes 6 ms to load."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_json, value))}]"
    if isinstance(value, str):
        if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
            return f'"{value}"'
        return f'"{"".join(map(_escaped, value))}"'
    return '"max"' if value == UNLIMITED else repr(value)


def _escaped(character: str) -> str:
    if " " <= character <= "~" and character not in '"\\':
        return character
    number = ord(character)
    if number > 0xFFFF:
        high, low = divmod(number - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{number:04x}"
