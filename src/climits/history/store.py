"""The history itself: a SQLite database, and how the spool gets into it.

WAL lets readers and writers work beside each other.  All writes are transactions that begin by
taking the database's one write lock; who takes the spool over holds it meanwhile.
"""

import os
import sqlite3
import time
from contextlib import contextmanager

from ..errors import ClimitsError, InvalidValueError
from ..units import parse_duration, parse_size
from .entries import COLUMNS, Entry, from_row, new_values, read_spool, to_row
from .spool import FOLD_AT, SPOOL, make_directory, state_directory, token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Self


DATABASE = "history.db"
#: Where a database goes that SQLite cannot read.
DAMAGED = f"{DATABASE}.damaged"
DEFAULT_AGE, DEFAULT_SIZE = "90d", "64M"

_VERSION = 1
_BUSY, _PATIENCE = 0.25, 10.0  # seconds to wait for the write lock: at the end of a run; else
_DAY = 86400.0
_SQLITE_BUSY, _SQLITE_CORRUPT, _SQLITE_NOTADB = 5, 11, 26

_SCHEMA = """\
CREATE TABLE runs (
    token INTEGER PRIMARY KEY, started REAL NOT NULL, source TEXT NOT NULL, name TEXT,
    command TEXT NOT NULL, cwd TEXT, verdict TEXT NOT NULL, memory_max, returncode INTEGER,
    exit_status INTEGER NOT NULL, memory_peak INTEGER, swap_peak INTEGER,
    oom_kill INTEGER, duration REAL, cpu_time REAL, user TEXT
)"""
_INSERT = f"INSERT OR IGNORE INTO runs VALUES ({','.join('?' * len(COLUMNS))})"


class HistoryError(ClimitsError, OSError):
    """The history cannot be read or written."""


class History:
    """The history of one user.

    Attributes:
        directory: where it is kept.
        warning: a line that somebody should read, or None.
    """

    def __init__(self, directory: "str | None" = None, *, timeout: float = _PATIENCE) -> None:
        """Open it, or begin it.

        Args:
            directory: where it is kept; None: see state_directory.
            timeout: seconds to wait for others that write.

        Raises:
            HistoryError: it cannot be opened.
        """
        self.directory = directory or state_directory()
        self.warning: str | None = None
        self._path, self._timeout = f"{self.directory}/{DATABASE}", timeout
        self._db: sqlite3.Connection | None = None
        self._mended(lambda: None)

    # -- writing -----------------------------------------------------------------------------

    def add(self, entries: "Iterable[Entry]") -> None:
        """Add runs in one transaction."""
        first = token()  # one after the other: a clock may stand still in between
        rows = [to_row(new_values(entry, first + n)) for n, entry in enumerate(entries)]

        def add() -> None:
            with self._transaction() as db:
                db.executemany(_INSERT, rows)

        self._mended(add)

    def fold(self) -> None:
        """Take over what was recorded since the last time, and let go of what is too old."""
        if self._has_spool():
            self._mended(self._fold)

    def clear(self) -> int:
        """Forget everything, on the disk too.

        Returns:
            How many runs were in it.
        """
        self.fold()

        def clear() -> int:
            with self._transaction() as db:
                (count,) = db.execute("SELECT count(*) FROM runs").fetchone()
                db.execute("DELETE FROM runs")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return int(count)

        count: int = self._mended(clear)
        _remove(f"{self.directory}/{DAMAGED}")
        return count

    # -- reading -----------------------------------------------------------------------------

    def query(
        self,
        wanted: "Callable[[Entry], bool] | None" = None,
        *,
        containing: str = "",
        source: "str | None" = None,
        oom: bool = False,
        since: "float | None" = None,
        limit: "int | None" = None,
    ) -> "list[Entry]":
        """Runs, the newest last; may be empty.

        Args:
            wanted: whether a run is to be among them.
            containing: only those with this somewhere in their command, quotes and backslashes
                escaped as in JSON; SQLite finds them much faster than `wanted` could.
            source: of this source only; None: of all.
            oom: OOM-killed ones only, and those with a process OOM-killed.
            since: started at this time or later, seconds since the epoch.
            limit: the newest so many.
        """
        text = f"SELECT {','.join(COLUMNS)} FROM runs WHERE started >= ?"
        values: list[object] = [since or 0.0]
        if containing:
            text += " AND instr(command, ?)"
            values.append(containing)
        if source is not None:
            text += " AND source = ?"
            values.append(source)
        if oom:
            text += " AND (verdict = 'oom-killed' OR oom_kill > 0)"

        def query() -> list[Entry]:
            found: list[Entry] = []
            assert self._db is not None
            rows = self._db.execute(f"{text} ORDER BY started DESC, token DESC", values)
            for row in rows:
                if limit is not None and len(found) >= limit:
                    break
                entry = from_row(row)
                if wanted is None or wanted(entry):
                    found.append(entry)
            rows.close()
            return found[::-1]

        entries: list[Entry] = self._mended(query)
        return entries

    # -- the spool ---------------------------------------------------------------------------

    def _has_spool(self) -> bool:
        return any(_is_spool(name) for name in os.listdir(self.directory))

    def _fold(self) -> None:
        with self._transaction() as db:
            taken = self._take_spools()
            for path in taken:
                db.executemany(_INSERT, read_spool(path))
            self._prune(db)
        # A kill up to here leaves them to the next one, which finds their tokens in the database.
        for path in taken:
            _remove(path)
        # One page each time that it is stepped, and a row without columns, which execute takes for
        # the end.
        db.executescript("PRAGMA incremental_vacuum")

    def _take_spools(self) -> "list[str]":
        """The spool under a name that nobody adds to, and those that somebody died over."""
        path = f"{self.directory}/{SPOOL}"
        try:
            os.rename(path, f"{path}.{os.urandom(7).hex()}")
        except FileNotFoundError:
            pass
        names = [n for n in os.listdir(self.directory) if _is_spool(n) and n != SPOOL]
        return [f"{self.directory}/{name}" for name in sorted(names)]

    def _prune(self, db: sqlite3.Connection) -> None:
        """Let go of the oldest, by age and by size."""
        age, size = retention()
        db.execute("DELETE FROM runs WHERE started < ?", (time.time() - age,))
        while _size(db) > size:
            (count,) = db.execute("SELECT count(*) FROM runs").fetchone()
            if not count:
                break
            db.execute(
                "DELETE FROM runs WHERE token IN (SELECT token FROM runs ORDER BY started LIMIT ?)",
                (count // 10 + 1,),
            )

    # -- the database ------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        try:
            # Made before SQLite makes it, for its owner alone; its other files follow its mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except FileNotFoundError:
            make_directory(self.directory)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._inode = os.stat(self._path).st_ino
        # Between threads it is passed on, not shared.
        db = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(db, self._path)
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _transaction(self) -> "Iterator[sqlite3.Connection]":
        db = self._db
        assert db is not None
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            if db.in_transaction:  # some errors have ended it already
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _mended(self, action: "Callable[[], Any]") -> "Any":
        """Do something with the database; where that is damaged, with a new one."""
        for attempt in range(2):
            try:
                if self._db is None:
                    self._db = self._connect()
                return action()
            except sqlite3.Error as e:
                code = getattr(e, "sqlite_errorcode", 0) & 0xFF
                damaged = code in (_SQLITE_CORRUPT, _SQLITE_NOTADB)
                if not damaged or attempt:
                    raise _error(self._path, str(e), code) from None
                self._set_aside()
            except OSError as e:
                if isinstance(e, ClimitsError):
                    raise
                raise _error(
                    str(e.filename or self._path), os.strerror(e.errno or 0).lower(), 0
                ) from None
        raise AssertionError("the loop returns or raises")

    def _set_aside(self) -> None:
        """Put a damaged database out of the way; the last such one is kept."""
        self.close()
        aside = f"{self.directory}/{DAMAGED}"
        if os.stat(self._path).st_ino != self._inode:
            return  # somebody else was faster
        os.replace(self._path, aside)
        for suffix in ("-wal", "-shm"):
            _remove(self._path + suffix)
        self.warning = f"the history was damaged, and begins anew; the old one is {aside}"

    def close(self) -> None:
        """Give it back."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def take_over(directory: str) -> "str | None":
    """Take a grown spool over, at the end of a run.

    Returns:
        None, or a line that says what is wrong with the history.
    """
    try:
        with History(directory, timeout=_BUSY) as history:
            history.fold()
            return history.warning
    except HistoryError as e:
        if e.errno == _SQLITE_BUSY:
            return None  # somebody else is at it; later
        _drop_hopeless(directory)
        return f"{e}; --no-history leaves it out"


def _drop_hopeless(directory: str) -> None:
    """What cannot be taken over must not fill the disk either."""
    path = f"{directory}/{SPOOL}"
    try:
        most = retention()[1]
    except InvalidValueError:
        most = 64 * FOLD_AT
    try:
        if os.stat(path).st_size > most:
            os.unlink(path)
    except OSError:
        pass


def retention() -> "tuple[float, int | float]":
    """(age in seconds, size in bytes) that the history may have.

    Raises:
        InvalidValueError: a variable of the environment makes no sense.
    """
    age = os.environ.get("CLIMITS_HISTORY_AGE") or DEFAULT_AGE
    size = os.environ.get("CLIMITS_HISTORY_SIZE") or DEFAULT_SIZE
    return (
        parse_age(age, what="CLIMITS_HISTORY_AGE"),
        parse_size(size, what="CLIMITS_HISTORY_SIZE"),
    )


def parse_age(text: str, *, what: str) -> float:
    """A duration in which days may stand too, such as 90d; seconds.

    Raises:
        InvalidValueError: it is none.
    """
    if text.endswith("d") and text[:-1]:
        return parse_duration(text[:-1], what=what) * _DAY
    return parse_duration(text, what=what)


def _prepare(db: sqlite3.Connection, path: str) -> None:
    """Settings of a connection, and the table if it is new."""
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before the first table, or never
    db.execute("PRAGMA journal_mode=WAL")
    # A power cut may take the last runs along, but never damages it.
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA secure_delete=ON")  # what is forgotten may have held a password
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == _VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.execute(_SCHEMA)
            db.execute("CREATE INDEX by_time ON runs (started)")
            db.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise HistoryError(
                f"history: {path}: written by another version of climits",
                path=path,
                hint="use that version, or another place: CLIMITS_STATE_DIR",
            )
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _size(db: sqlite3.Connection) -> int:
    figures = [
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    ]
    return (figures[0] - figures[1]) * figures[2]


def _error(path: str, cause: str, code: int) -> HistoryError:
    hint = "CLIMITS_STATE_DIR names another place for it"
    return HistoryError(f"history: {path}: {cause}", path=path, errno=code or None, hint=hint)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _is_spool(name: str) -> bool:
    return name == SPOOL or name.startswith(f"{SPOOL}.")
