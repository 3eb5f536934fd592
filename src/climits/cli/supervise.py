"""`climits supervise`: keep one program alive, or those of a configuration."""

import os
import select
import sys
import time

from ..cgroup import placement
from ..errors import InvalidValueError
from ..supervise.config_values import POLICY
from ..supervise.policy import Policy
from .options import SUPERVISE as OPTIONS
from .run import environment
from .scope import wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..observe.web.server import StatusPage
    from ..supervise.beside import Beside
    from ..supervise.config import Config, ProgramConfig
    from ..supervise.supervisor import Supervisor

USAGE = """climits supervise [OPTIONS] [--] COMMAND [ARGUMENTS]
       climits supervise [--check] -c FILE"""
EPILOG = """\
Without -c one program is supervised: it is started again after an OOM kill (or
as --restart says), and supervise ends when it ends for good, with its exit
status; with 0 when it was stopped by Ctrl+C or SIGTERM.

N/PERIOD: so many restarts within that time, such as 5/1m; max is no end.

examples:
  climits supervise --memory 60M -- ./simpleapp
  climits supervise --memory 100M --grow 1.5 --grow-max 500M -- ./server
  climits supervise --memory 64M --alarm threshold=80%,signal=USR1 -- ./server
  climits supervise -c climits.toml
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_SPEC = (
    "memory", "swap", "high", "low", "min", "swappiness", "on_oom", "pids", "cpus", "cpuset",
    "name", "parent", "root", "user", "group", "nice", "oom_score_adj",
)  # fmt: skip

_BESIDE_A_FILE = (
    "config", "check", "socket", "web", "metrics", "record", "log_format", "no_history", "slice",
    "unit", "no_systemd",
)  # fmt: skip


def main(values: "dict[str, Any]", command: list[str]) -> int:
    """Supervise until the end."""
    tell = _teller(values.get("log_format", "text"), many="config" in values)
    if "config" in values:
        return _from_file(values, command, tell)
    if values.get("check"):
        raise InvalidValueError("there is nothing to check", hint="name the file with -c FILE")
    if not command:
        raise InvalidValueError(
            "no command was given",
            hint="write it last: climits supervise --memory 60M -- ./app; or -c FILE",
        )
    from ..supervise.supervisor import Supervisor

    supervisor = Supervisor(
        [_from_words(values, command)], tell, socket=_socket(values),
        history=not values.get("no_history"), beside=_beside(values, None),
    )  # fmt: skip
    _run(supervisor)
    (program,) = supervisor.programs.values()
    if program.status == "stopped":
        return 0
    return program.result.exit_status if program.result else 125


def _from_words(values: "dict[str, Any]", command: list[str]) -> "ProgramConfig":
    from ..program.spec import Spec
    from ..supervise.config import ProgramConfig

    options = {name: values[name] for name in _SPEC if name in values}
    options |= {
        "cwd": values.get("chdir"),
        "env": environment(values.get("env", ()), bool(values.get("clear_env"))),
        "close_fds": False,
    }
    wish(values, ["supervise", *command], values.get("name"))
    Spec(command, **options)  # what is wrong with it is told before anything is started
    alarms = []
    for text in values.get("alarm", ()):
        from ..supervise.alarms import parse_alarm

        alarms.append(parse_alarm(text))
    return ProgramConfig(
        name=os.path.basename(command[0]),
        command=command,
        options=options,
        policy=_policy(values),
        alarms=alarms,
        depends_on=[],
    )


def _policy(values: "dict[str, Any]") -> Policy:
    """The Policy that a person's options describe."""
    given = {
        name: read(values[name], name.replace("_", "-"))
        for name, read in POLICY.items()
        if name in values
    }
    if "grow" in given and "memory" not in values:
        raise InvalidValueError("grow needs a memory limit", hint="give --memory too")
    return Policy(**given)


def _from_file(values: "dict[str, Any]", command: list[str], tell: "Any") -> int:
    others = [n for n in values if n not in _BESIDE_A_FILE]
    if command or others:
        what = command[0] if command else "--" + others[0].replace("_", "-")
        raise InvalidValueError(
            f"{what} does not go with -c", hint="write it into the configuration"
        )
    from ..program.verdict import count
    from ..supervise.config import ConfigError, load
    from ..supervise.notify import Notifier

    # First of all: what it takes from the environment, programs must not get.
    notifier = Notifier.from_environ(os.environ)
    path = os.path.abspath(values["config"])
    wish(values, ["supervise", "-c", path])
    try:
        config = load(path, apart=True)
    except ConfigError as e:
        for problem in e.problems:
            sys.stderr.write(f"climits: {problem}\n")
        return 125
    if values.get("check"):
        names = ", ".join(p.name for p in config.programs)
        programs = count(len(config.programs), "program")
        sys.stdout.write(f"{values['config']}: good: {programs}: {names}\n")
        return 0
    from ..supervise.control import default_path
    from ..supervise.supervisor import Supervisor

    def load_again() -> "Config":
        again = load(path)
        if again.metrics != config.metrics:
            supervisor.tell(
                "metrics-unchanged",
                error="metrics go to the address that they began with",
                hint="start climits supervise anew",
            )
        return again

    supervisor = Supervisor(
        config.programs,
        tell,
        many=True,
        socket=_socket(values) or default_path(),
        must_listen="socket" in values,  # /run may be read-only
        reload=load_again,
        notifier=notifier,
        history=not values.get("no_history"),
        beside=_beside(values, config.metrics),
    )
    _run(supervisor)
    return 0


def _socket(values: "dict[str, Any]") -> "str | None":
    return os.path.abspath(values["socket"]) if "socket" in values else None


def _beside(values: "dict[str, Any]", metrics: "str | None") -> "list[Beside]":
    """What is to run in threads beside it, as the options and the file say."""
    beside: list[Beside] = []
    form = values.get("log_format", "text")
    if address := values.get("metrics", metrics):
        from ..observe.metrics.collect import SupervisorMetrics

        beside.append(SupervisorMetrics(address, lambda url: _tell_address(form, "metrics", url)))
    if "web" in values:
        from ..observe.web.server import StatusPage

        def tell(page: "StatusPage") -> None:
            _tell_page(form, page)

        beside.append(StatusPage(values["web"], tell))
    if "record" in values:  # last: an earlier recording is replaced once all else is known to work
        from ..observe.recordings.recorder import SupervisorRecorder

        beside.append(SupervisorRecorder(values["record"], warn=_warn))
    return beside


def _warn(text: str) -> None:
    _write(f"climits: {text}")


def _tell_page(form: str, page: "StatusPage") -> None:
    """Say where the page is; its token to a terminal only, since all else may be a log."""
    url, more = page.url_with_token, {}
    if form == "json" or not os.isatty(2):
        import tempfile

        from ..supervise.control import default_path

        folders = [os.path.dirname(default_path()), tempfile.gettempdir()]
        url, more = page.url, {"token_file": page.keep_url(folders)}
    _tell_address(form, "status-page", url, more | ({"warning": w} if (w := page.warning) else {}))


def _tell_address(form: str, event: str, url: str, more: "dict[str, str] | None" = None) -> None:
    more = more or {}
    if form == "json":
        import json

        _write(json.dumps({"time": round(time.time(), 6), "event": event, "url": url, **more}))
        return
    _write(f"climits: {event.replace('-', ' ')}: {url}")
    for name, value in more.items():
        _write(f"climits: {name.replace('_', ' ')}: {value}")


def _run(supervisor: "Supervisor") -> None:
    try:
        supervisor.run()
    finally:
        placement.release_parents()


def _teller(form: str, *, many: bool) -> "Any":
    if form == "json":
        import json

        def tell_json(record: "dict[str, Any]") -> None:
            _write(json.dumps(record))

        return tell_json
    if form != "text":
        raise InvalidValueError(
            f"log-format: {form}: unknown", value=form, hint="write text or json"
        )
    from ..supervise.text import line

    def tell_text(record: "dict[str, Any]") -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(record["time"]))
        _write(f"climits: {clock} {line(record, named=many)}")

    return tell_text


def _write(text: str) -> None:
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    if not poll.poll(0):
        return  # nobody takes it: waiting for that would hold every program up
    try:
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass  # nobody reads it; the programs are worth more


def run_original(argv: list[str]) -> int:
    """The spelling of the first program of this name: ``-memory 60 -root PATH ./app``."""
    values: dict[str, Any] = {}
    words = list(argv)
    while words and words[0].startswith("-") and words[0] != "--":
        flag, equals, value = words.pop(0).lstrip("-").partition("=")
        if not equals:
            value = words.pop(0) if words else ""
        if flag == "memory" and value.isdigit():
            values["memory"] = f"{value}M"
        elif flag == "root" and value:
            values["root"] = value
        else:
            raise InvalidValueError(
                f"-{flag} {value}: not understood",
                value=value,
                hint="the new form is climits supervise --memory 60M --root PATH -- ./app",
            )
    if words[:1] == ["--"]:
        del words[0]
    new = " ".join(f"--{name} {value}" for name, value in values.items())
    _write(f"climits: note: the new form is climits supervise {new} -- {' '.join(words)}")
    return main(values, words)
