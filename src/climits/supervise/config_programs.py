"""The programs of climits.toml: what their values say about each other."""

import os

from ..cgroup.naming import check_name
from ..errors import InvalidValueError
from ..units import UNLIMITED
from . import config_values as values
from .config import LogConfig, ProgramConfig
from .config_tables import Tables, dotted
from .policy import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .toml_lines import Where

_STREAMS = ("stdout", "stderr")


def read_programs(tables: Tables, content: "dict[str, Any]", folder: str) -> list[ProgramConfig]:
    """Read the whole file.

    Args:
        tables: collects the problems; with any, the result is not to be used.
        content: of the file.
        folder: that the file is in, for relative paths.

    Returns:
        The programs in the order in which they are to be started.
    """
    for key in content:
        hint = "the file has [defaults] and [program.NAME]"
        if key in values.KEYS or key in values.TABLES:
            tables.report((key,), f"{key}: stands outside of a table", hint)
        elif key not in ("defaults", "program", "metrics"):
            tables.unknown((key,), ("defaults", "program", "metrics"), hint)
    shared = _Shared(tables, content.get("defaults", {}), folder)
    programs = {}
    for name, table in tables.items(content.get("program", {}), ("program",)):
        where = ("program", name)
        tables.value(lambda value, what: check_name(value, what=what), name, where)
        programs[name] = _Program(shared, name, table)
    if not content.get("program"):
        tables.report(("program",), "no program", "add [program.NAME]")
    _check_logs(programs)
    _check_overlays(programs)
    return [programs[name].record() for name in _start_order(programs)]


class _Shared:
    """What all programs of a file have in common.

    Attributes:
        tables: collects the problems.
        raw: the defaults, as the file has them.
        defaults: what they mean.
    """

    def __init__(self, tables: Tables, defaults: "Any", folder: str) -> None:
        self.tables = tables
        self.raw = defaults if isinstance(defaults, dict) else {}
        self.defaults = tables.program(defaults, ("defaults",))
        self._folder = folder
        self._environ = dict(os.environ)
        self._environments: dict[tuple[bool, tuple[tuple[str, str], ...]], dict[str, str]] = {}
        self._policies: dict[Policy, Policy] = {}
        self._options: dict[str, Any] = {}

    def absolute(self, path: str) -> str:
        """A path of the file: relative to the folder that the file is in."""
        return os.path.normpath(os.path.join(self._folder, path))

    def environment(self, own: dict[str, str], *, clear: bool) -> dict[str, str]:
        """The whole environment of a program; one object for all that have the same."""
        key = clear, tuple(sorted(own.items()))
        if key not in self._environments:
            self._environments[key] = {**({} if clear else self._environ), **own}
        return self._environments[key]

    def policy(self, rules: "dict[str, Any]") -> Policy:
        """The policy with these rules; one object for all that have the same."""
        policy = Policy(**rules)
        return self._policies.setdefault(policy, policy)

    def options(self, options: "dict[str, Any]") -> "dict[str, Any]":
        """These options; one object for programs in a row that have the same."""
        if options != self._options:
            self._options = options
        return self._options


class _Program:
    """One program's table, with the defaults behind it.

    Attributes:
        name: of the program.
        logs: LogConfig of its stdout and stderr, where they go to files of their own.
        depends_on: names of programs, which need not exist.
        container: keyword arguments of Container, or None.
    """

    def __init__(self, shared: _Shared, name: str, table: "Any") -> None:
        self.name = name
        self._shared = shared
        self._raw = table if isinstance(table, dict) else {}
        own = shared.tables.program(table, ("program", name))
        self._values = {**shared.defaults, **own}
        for key in ("env", *_STREAMS):  # tables that are mixed key by key
            behind, before = shared.defaults.get(key, {}), own.get(key, {})
            if isinstance(before, dict) and isinstance(behind, dict):
                self._values[key] = {**behind, **before}
        self.depends_on: list[str] = self._values.get("depends_on", [])
        self.logs = {stream: log for stream in _STREAMS if (log := self._log(stream))}
        self.container = self._container()
        if isinstance(table, dict):
            self._check()

    def report(self, key: str, text: str, hint: "str | None" = None) -> None:
        """A problem with one of the values, in the program's own table or in the defaults."""
        where: Where = ("program", self.name)
        if key not in self._raw and key in self._shared.raw:
            where = ("defaults",)
        name = dotted(("program", self.name, key))
        # A log's problems are its path's, if it has one: the line of a table is its header's.
        place = (*where, key, "path") if key in _STREAMS else (*where, key)
        self._shared.tables.report(place, f"{name}: {text}", hint)

    def _is_given(self, key: str) -> bool:
        return key in self._raw or key in self._shared.raw

    def _log(self, stream: str) -> "LogConfig | None":
        found = self._values[stream]
        if not isinstance(found, dict):
            return None
        path = found.get("path")
        if path is None:
            own = self._raw.get(stream)
            if isinstance(own, dict) and "path" not in own:
                self.report(stream, "no path", 'add path = "FILE"')
            return None  # settings in the defaults, for those that have a path
        path = self._shared.absolute(path.replace("{name}", self.name))
        if os.path.isdir(path):
            self.report(stream, f"{path}: a directory", "name the file in it")
        return LogConfig(**{**found, "path": path})

    def _container(self) -> "dict[str, Any] | None":
        found = self._values.get("container")
        if not isinstance(found, dict):
            return None
        if isinstance(behind := self._shared.defaults.get("container"), dict):
            found = {**behind, **found}
        from .config_container import resolve

        raw = [table.get("container") for table in (self._raw, self._shared.raw)]
        given = {key for table in raw if isinstance(table, dict) for key in table}
        options, problems = resolve(found, given, self.name, self._shared.absolute)
        for key, index, text, hint in problems:
            self.report_container(key, text, hint, index)
        return options

    def report_container(
        self, key: str, text: str, hint: "str | None" = None, index: "int | None" = None
    ) -> None:
        """A problem with a key of the container, in its own table or in that of the defaults."""
        own = self._raw.get("container")
        is_own = isinstance(own, dict) and key in own
        where: Where = ("program", self.name) if is_own else ("defaults",)
        rest: Where = ("container", key) if index is None else ("container", key, index)
        name = dotted(("program", self.name, *rest))
        self._shared.tables.report((*where, *rest), f"{name}: {text}", hint)

    def _check(self) -> None:
        """What one value says about another."""
        found = self._values
        if not self._is_given("command"):
            where = ("program", self.name)
            self._shared.tables.report(where, f"{dotted(where)}: no command", 'add command = "..."')
        self._check_growth()
        if (
            self.container
            and "rootfs" in self.container
            and not found.get("cwd", "/").startswith("/")
        ):
            self.report("cwd", f"{found['cwd']}: not absolute", "it is a path inside the rootfs")
        self._check_accounts()
        if (
            "restart_delay_max" in found
            and found.get("restart_delay", 0) > found["restart_delay_max"]
        ):
            self.report("restart_delay_max", "less than restart_delay")

    def _check_accounts(self) -> None:
        """Whether user and group exist, in the container's root where it has one."""
        found, root = self._values, (self.container or {}).get("rootfs")
        if "user" not in found and "group" not in found:
            return
        from ..program.identity import identity

        user, group = found.get("user"), found.get("group")
        given = 0 if self._is_given("group") else None  # which one does not matter to the user
        for key, who, its in (("user", user, given), ("group", None, group)):
            try:
                if key in found:
                    identity(who, its, None, root)
            except InvalidValueError as e:
                self.report(key, e.text.partition(": ")[2], e.hint)
            except UnicodeEncodeError:
                self.report(key, f"{values.shown(found[key])}: not a name")

    def _check_growth(self) -> None:
        found = self._values
        if "grow_max" in found and not self._is_given("grow"):
            self.report("grow_max", "has no meaning without grow", "add grow = 1.5")
        if "grow" not in found:
            return
        if not self._is_given("memory"):
            self.report("grow", "there is no memory limit that could grow", 'add memory = "60M"')
        if "memory" not in found:
            return
        memory = values.size_in_bytes(found["memory"], "memory")
        if memory == UNLIMITED:
            self.report("grow", "no limit cannot grow", 'change memory = "max"')
        elif found.get("grow_max", UNLIMITED) <= memory:
            self.report("grow_max", f"not more than memory = {found['memory']}")

    def record(self) -> ProgramConfig:
        """What was read."""
        found = self._values
        options = {key: found[key] for key in values.OPTIONS if key in found}
        if "cwd" in options:
            options["cwd"] = self._shared.absolute(options["cwd"])
        clear = found.get("clear_env", False)
        if clear or found["env"]:
            options["env"] = self._shared.environment(found["env"], clear=clear)
        if self.container is not None:
            options["container"] = self.container
        rules = {key: found[key] for key in values.POLICY if key in found}
        if rules.get("restart_delay", 0) > Policy.restart_delay_max:
            rules.setdefault("restart_delay_max", rules["restart_delay"])
        given: dict[str, Any] = {
            "alarms": found.get("alarm"),
            "stdout": self.logs.get("stdout"),
            "stderr": "stdout" if found["stderr"] == "stdout" else self.logs.get("stderr"),
            "depends_on": self.depends_on,
        }
        given = {key: value for key, value in given.items() if value}  # there may be thousands
        if not found.get("autostart", True):
            given["autostart"] = False
        return ProgramConfig(
            name=self.name,
            options=self._shared.options(options),
            command=found.get("command", []),
            policy=self._shared.policy(rules),
            **given,
        )


def _check_logs(programs: dict[str, _Program]) -> None:
    """No two logs may go into one file, nor one to where another's rotated files go."""
    owners: dict[str, tuple[_Program, str, LogConfig]] = {}
    for program in programs.values():
        for stream, log in program.logs.items():
            if not _rotates(log.path):
                continue
            other = owners.setdefault(log.path, (program, stream, log))
            if other[2] is not log:
                hint = "{name} in a path stands for the program's name"
                if other[0] is program:
                    hint = 'write stderr = "stdout" to join them'
                text = f"{log.path}: {other[0].name}'s {other[1]} goes there too"
                program.report(stream, text, hint)
    for program, stream, log in owners.values():
        path, _, number = log.path.rpartition(".")
        if path in owners and _is_rotated(number, owners[path][2].keep):
            owner = f"{owners[path][0].name}'s {owners[path][1]}"
            program.report(stream, f"{log.path}: {owner} is rotated to there")


def _check_overlays(programs: dict[str, _Program]) -> None:
    """No two programs may write into one directory of an overlay: the kernel forbids it."""
    owners: dict[str, str] = {}
    for name, program in programs.items():
        path = (program.container or {}).get("overlay_dir")
        if path is not None and owners.setdefault(path, name) != name:
            hint = "{name} in a path stands for the program's name"
            program.report_container("overlay_dir", f"{path}: {owners[path]}'s is the same", hint)


def _rotates(path: str) -> bool:
    """Whether it is or will be a regular file: any number of programs may share a device."""
    return os.path.isfile(path) or not os.path.exists(path)


def _is_rotated(number: str, keep: int) -> bool:
    return number.isascii() and number.isdigit() and number[0] != "0" and int(number) <= keep


def _start_order(programs: dict[str, _Program]) -> list[str]:
    """Names of the programs, each after those that it depends on, else as the file has them."""
    order: dict[str, None] = {}
    for start, program in programs.items():
        for needed in program.depends_on:
            if needed not in programs:
                hint = values.suggestion(needed, list(programs))
                program.report("depends_on", f"{needed}: no such program", hint)
        # Depth first, with a stack of our own: a chain may be longer than Python's.
        path = {start: iter(program.depends_on)}
        while path:
            name = next(reversed(path))
            needed = next(path[name], "")  # no name is empty
            if not needed:
                order[name] = None
                del path[name]
            elif needed in path:
                chain = list(path)
                circle = " -> ".join([*chain[chain.index(needed) :], needed])
                programs[name].report("depends_on", f"{circle}: a circle")
            elif needed in programs and needed not in order:
                path[needed] = iter(programs[needed].depends_on)
    return list(order)
