"""The tables of climits.toml, one by one: from what the file says to what it means.

Nothing here stops at a problem: all of them are collected, each with its line.
"""

from ..errors import InvalidValueError
from . import config_values as values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .alarms import Alarm
    from .toml_lines import Where


class Tables:
    """Reads tables, and collects what is wrong with them.

    Attributes:
        problems: (line, text) of each.
    """

    def __init__(self, find_lines: "Callable[[], dict[Where, int]]") -> None:
        """Nothing is read yet.

        Args:
            find_lines: gives the line of each value; called once, at the first problem.
        """
        self._find_lines = find_lines
        self._lines: dict[Where, int] = {}
        self.problems: list[tuple[int, str]] = []

    # -- problems ----------------------------------------------------------------------------

    def report(self, where: "Where", text: str, hint: "str | None" = None) -> None:
        """A problem with what stands there, or would stand there."""
        self._lines = self._lines or self._find_lines()
        while where not in self._lines:
            where = where[:-1]
        line = f"{text}; hint: {hint}" if hint else text
        if not line.isprintable():  # what the file says may stand in it
            line = repr(line)[1:-1]
        self.problems.append((self._lines[where], line))

    def unknown(self, where: "Where", known: "Iterable[str]", hint: str) -> None:
        """A key that there is not."""
        hint = values.suggestion(str(where[-1]), list(known)) or hint
        self.report(where, f"{dotted(where)}: unknown", hint)

    def value(self, reader: "values.Reader", value: "Any", where: "Where") -> "Any":
        """What a value means; None, and a problem, when it means nothing."""
        try:
            return reader(value, dotted(where))
        except InvalidValueError as e:
            self.report(where, e.text, e.hint)
            return None

    def items(self, value: "Any", where: "Where") -> "Iterable[tuple[str, Any]]":
        """What is in a table; nothing, and a problem, when it is none."""
        if isinstance(value, dict):
            return value.items()
        name = dotted(where)
        hint = f"write [{name}]" if "[" not in name else None
        self.report(where, f"{name}: {values.shown(value)}: not a table", hint)
        return ()

    # -- tables ------------------------------------------------------------------------------

    def program(self, table: "Any", where: "Where") -> "dict[str, Any]":
        """A program's table, or the defaults.

        Returns:
            What its keys mean; those with problems are left out.
        """
        found: dict[str, Any] = {}
        for key, value in self.items(table, where):
            here = (*where, key)
            if key == "command" and where == ("defaults",):
                self.report(here, "defaults.command: has no meaning", "each program has its own")
            elif key == "metrics":
                hint = "it is the supervisor's: write it above the first table"
                self.report(here, f"{dotted(here)}: has no meaning", hint)
            elif key in values.KEYS:
                before = len(self.problems)
                meaning = self.value(values.KEYS[key], value, here)
                if len(self.problems) == before:
                    found[key] = meaning  # of a budget, None is one
            elif key == "env":
                found[key] = self._environment(value, here)
            elif key == "alarm":
                found[key] = self._alarms(value, here)
            elif key in ("stdout", "stderr"):
                found[key] = self._log(value, here)
            elif key == "container":
                found[key] = self._container(value, here)
            else:
                known = [k for k in (*values.KEYS, *values.TABLES) if k not in table]
                self.unknown(here, known, "the reference, climits.toml.md, lists all keys")
        return found

    def _environment(self, value: "Any", where: "Where") -> "dict[str, str]":
        found = {}
        for name, text in self.items(value, where):
            here = (*where, name)
            if self.value(values.variable, name, here):
                meaning = self.value(values.variable_value, text, here)
                if meaning is not None:
                    found[name] = meaning
        return found

    def _alarms(self, value: "Any", where: "Where") -> "list[Alarm]":
        from .alarms import KEYS, make_alarm

        if not isinstance(value, list):
            self.report(where, f"{dotted(where)}: not a list", f"write [[{dotted(where)}]]")
            return []
        found = []
        for index, table in enumerate(value):
            here = (*where, index)
            options = {}
            for key, item in self.items(table, here):
                if key in KEYS:
                    options[key] = item
                else:
                    self.unknown((*here, key), KEYS, f"an alarm has {', '.join(KEYS)}")
            if not isinstance(table, dict):
                continue
            try:
                found.append(make_alarm(options))
            except InvalidValueError as e:
                key = e.text.partition(":")[0]
                text = f"{dotted(here)}{'.' if key in options else ': '}{e.text}"
                self.report((*here, key), text, e.hint)
        return found

    def _log(self, value: "Any", where: "Where") -> "dict[str, Any] | str":
        """The keys of a log table; ``stdout`` where standard error goes there too."""
        if isinstance(value, str):
            if value == "stdout" and where[-1] == "stderr":
                return value
            path = self.value(values.text, value, where)
            return {"path": path} if path else {}
        return self._keys(value, where, values.LOG_KEYS, "a log")

    def _container(self, value: "Any", where: "Where") -> "dict[str, Any] | bool":
        """The keys of a container's table; False for none, whatever the defaults say."""
        from .config_container import KEYS

        return value is not False and self._keys(value, where, KEYS, "a container")

    def _keys(
        self, value: "Any", where: "Where", readers: "dict[str, values.Reader]", what: str
    ) -> "dict[str, Any]":
        """What the keys of a table mean; those with problems are left out."""
        found = {}
        for key, item in self.items(value, where):
            here = (*where, key)
            if key not in readers:
                self.unknown(here, readers, f"{what} has {', '.join(readers)}")
                continue
            meaning = self.value(readers[key], item, here)
            if meaning is not None:
                found[key] = meaning
        return found


def dotted(where: "Where") -> str:
    """``program.web.alarm[0].level``."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            is_bare = part.isascii() and part.replace("-", "_").replace("_", "a").isalnum()
            text += f".{part}" if is_bare else f".{part!r}"
    return text.removeprefix(".")
