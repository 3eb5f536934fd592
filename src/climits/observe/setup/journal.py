"""What was changed, written down before it is: a change that was cut short can still be undone.

What a boot undoes is kept in /run, everything else in /var/lib.
"""

import fcntl
import json
import os
from pathlib import Path

from ...errors import ClimitsError
from .changes import read_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .changes import Change

    Entry = dict[str, Any]

#: (where lasting changes are noted, where those that a boot undoes).
PLACES = ("/var/lib/climits", "/run/climits")
_NAME = "setup.json"
_KEYS = {"kind", "target", "for", "lasts", "note"}


class Journal:
    """The changes that setup has made on this host; a context manager that holds the lock.

    Attributes:
        entries: list of dicts with kind, target, for (user names, "" for all), finished, lasts and
            note; in the order in which they were made.
    """

    def __init__(self, places: "tuple[str, str]" = PLACES) -> None:
        self._places = places
        self._lock = -1
        self.entries: list[Entry] = []

    def __enter__(self) -> "Journal":
        path = f"{self._places[1]}/setup.lock"
        try:
            Path(self._places[1]).mkdir(mode=0o755, parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # another setup is soon through
        except OSError as e:
            cause = os.strerror(e.errno or 0).lower()
            raise ClimitsError(f"cannot lock {path}: {cause}", path=path) from None
        self.load()
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._lock)

    def load(self) -> None:
        """Read it; nothing written yet is no entries.

        Raises:
            ClimitsError: what is there cannot be read.
        """
        self.entries = []
        for place in self._places:
            path = f"{place}/{_NAME}"
            try:
                text = read_text(path)
                found = json.loads(text)["changes"] if text else []
                if not all(entry.keys() >= _KEYS for entry in found):
                    raise ValueError("an entry says too little")
                self.entries += found
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
                raise ClimitsError(
                    f"cannot read what setup has changed: {path}: {e}",
                    path=path,
                    hint="put it right, or remove it: what it tells of can then not be undone",
                ) from None

    def find(self, kind: str, target: str) -> "Entry | None":
        """The entry of a change, if it was made."""
        for entry in self.entries:
            if (entry["kind"], entry["target"]) == (kind, target):
                return entry
        return None

    def begin(self, change: "Change", user: str) -> "Entry":
        """Note a change before it is made; the first note of a target stays."""
        entry = self.find(change.kind, change.target)
        if entry is None:
            entry = {
                "kind": change.kind, "target": change.target, "for": [], "lasts": change.lasts,
                "note": change.note(),
            }  # fmt: skip
            self.entries.append(entry)
        entry["note"] = change.merged(entry["note"])
        entry["finished"] = False
        if user not in entry["for"]:
            entry["for"].append(user)
        self.save()
        return entry

    def save(self) -> None:
        """Write it down.

        Raises:
            ClimitsError: it could not be: nothing more may be changed then.
        """
        for place, lasts in zip(self._places, (True, False), strict=True):
            mine = [e for e in self.entries if e["lasts"] is lasts]
            path = f"{place}/{_NAME}"
            try:
                if mine:
                    Path(place).mkdir(mode=0o755, parents=True, exist_ok=True)
                    text = json.dumps({"schema": 1, "changes": mine}, indent=1)
                    write_text(path, text + "\n")
                elif os.path.exists(path):
                    os.unlink(path)
                    if lasts:
                        Path(place).rmdir()
            except OSError as e:
                if not mine and not os.path.exists(path):
                    continue  # others have files there, too
                cause = os.strerror(e.errno or 0).lower()
                raise ClimitsError(
                    f"cannot note what is changed: {path}: {cause}",
                    path=path,
                    hint="nothing was changed that is not noted",
                ) from None
