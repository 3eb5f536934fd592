"""config.json of an OCI bundle, key by key: what nobody asked for is named in the end."""

import os

from ..errors import InvalidValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..errors import ClimitsError

_KINDS = {
    bool: "neither true nor false", dict: "not an object", int: "not a whole number",
    list: "not a list", str: "not text",
}  # fmt: skip
_MOST = 16 << 20  # bytes of a file


class File:
    """A config.json.

    Attributes:
        path: of the file.
        directory: that it is in, absolute.
        content: what is in it.
        left_out: what is in it and cannot be had: ``linux.sysctl: why``, in the order found.
    """

    def __init__(self, directory: "str | os.PathLike[str]") -> None:
        """Read it.

        Raises:
            InvalidValueError: there is none, or it is not JSON.
        """
        self.path = os.path.join(os.fsdecode(directory), "config.json")
        self.left_out: list[str] = []
        self.content = self._read()
        self.directory = os.path.realpath(os.fsdecode(directory))

    def _read(self) -> "dict[str, Any]":
        import json

        try:
            with open(self.path, "rb") as file:
                data = file.read(_MOST + 1)
        except (OSError, ValueError) as e:  # ValueError: a NUL in the path
            cause = os.strerror(e.errno or 0).lower() if isinstance(e, OSError) else str(e)
            raise self.error(cause, "a bundle is a directory with a config.json") from None
        if len(data) > _MOST:
            raise self.error("too large", f"at most {_MOST >> 20} MiB are read")
        try:
            content = json.loads(data)
        except UnicodeDecodeError as e:
            line = data.count(b"\n", 0, e.start) + 1
            raise self.error(f"{line}: not UTF-8", None, ":") from None
        except json.JSONDecodeError as e:
            text = e.msg[:1].lower() + e.msg[1:]
            raise self.error(f"{e.lineno}: {text}", "make it valid JSON", ":") from None
        except (RecursionError, ValueError):  # int() refuses 4300 digits
            raise self.error("not JSON that can be read", None) from None
        if not isinstance(content, dict):
            raise self.error("1: not an object", None, ":")
        return content

    def error(self, text: str, hint: "str | None" = None, between: str = ": ") -> InvalidValueError:
        """The error for something in the file."""
        line = f"bundle: {self.path}{between}{text}"
        return InvalidValueError(
            line if line.isprintable() else repr(line)[1:-1], path=self.path, hint=hint
        )

    def wrap(self, error: "ClimitsError") -> InvalidValueError:
        """An error about something that the file says."""
        return self.error(error.text, error.hint)


class Section:
    """An object of the file.

    Attributes:
        file: that it is in.
        where: its place, ``linux.resources``; empty for the whole.
    """

    def __init__(self, file: File, content: "dict[str, Any]", where: str) -> None:
        self.file, self.where = file, where
        # What is null or empty says nothing.
        self._rest = {k: v for k, v in content.items() if v is not None and v not in ("", [], {})}

    def place(self, key: str) -> str:
        """The place of one of its keys."""
        return f"{self.where}.{key}" if self.where else key

    def peek(self, key: str) -> "Any":
        """What a key says, not yet taken; None if nothing."""
        return self._rest.get(key)

    # -- taking ------------------------------------------------------------------------------

    def _take(self, key: str, kind: "type[Any]") -> "Any":
        value = self._rest.pop(key, None)
        if value is not None:
            self._check(value, kind, self.place(key))
        return value

    def _check(self, value: "Any", kind: "type[Any]", place: str) -> None:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.file.error(f"{place}: {_KINDS[kind]}")
        if isinstance(value, str) and "\0" in value:
            raise self.file.error(f"{place}: a NUL byte may not stand in it")

    def text(self, key: str) -> "str | None":
        """Text, or None."""
        value: str | None = self._take(key, str)
        return value

    def number(self, key: str) -> "int | None":
        """A whole number, or None."""
        value: int | None = self._take(key, int)
        return value

    def flag(self, key: str) -> "bool | None":
        """True or false, or None."""
        value: bool | None = self._take(key, bool)
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts, may be empty."""
        return self._list(key, str)

    def numbers(self, key: str) -> list[int]:
        """A list of whole numbers, may be empty."""
        return self._list(key, int)

    def _list(self, key: str, kind: "type[Any]") -> "list[Any]":
        values = self._take(key, list) or []
        for index, value in enumerate(values):
            self._check(value, kind, f"{self.place(key)}[{index}]")
        return list(values)

    def table(self, key: str) -> "dict[str, Any]":
        """An object that somebody else reads, may be empty."""
        return self._take(key, dict) or {}

    def section(self, key: str) -> "Section":
        """An object, may be empty."""
        return Section(self.file, self.table(key), self.place(key))

    def sections(self, key: str) -> "list[Section]":
        """A list of objects, may be empty."""
        tables = self._list(key, dict)
        return [Section(self.file, t, f"{self.place(key)}[{i}]") for i, t in enumerate(tables)]

    # -- what cannot be had ------------------------------------------------------------------

    def leave(self, key: str, why: str) -> None:
        """Name a key as one that cannot be had."""
        self._rest.pop(key, None)
        text = f"{self.place(key) if key else self.where}: {why}"
        self.file.left_out.append(text if text.isprintable() else repr(text)[1:-1])

    def close(self, reasons: "dict[str, str] | None" = None) -> None:
        """Name every key that was not taken.

        Args:
            reasons: {key: why it cannot be had}; the others are unknown.
        """
        for key, value in list(self._rest.items()):
            if value is False:
                continue  # it asks for nothing
            self.leave(key, (reasons or {}).get(key, "unknown"))
