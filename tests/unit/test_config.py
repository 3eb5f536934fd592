import os
import pickle
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from climits.cgroup.triggers import SOURCES
from climits.errors import ClimitsError, InvalidValueError
from climits.supervise import alarms, config_container, config_values
from climits.supervise.alarms import make_alarm
from climits.supervise.config import Config, ConfigError, LogConfig, load
from climits.supervise.policy import Policy
from climits.supervise.toml_lines import TomlError, line_numbers, parse
from climits.units import UNLIMITED

M = 1024**2
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def read(tmp_path):
    """read(TEXT) loads it as a file."""

    def read(text):
        path = tmp_path / "climits.toml"
        path.write_text(text, encoding="utf-8", newline="")
        return load(str(path))

    return read


@pytest.fixture
def one(read):
    """one(TEXT) is the program whose table has these lines."""

    def one(text):
        (program,) = read(f'[program.web]\ncommand = "true"\n{text}\n').programs
        return program

    return one


@pytest.fixture
def wrong(read, tmp_path):
    """wrong(TEXT) is the list of its problems, without the name of the file."""

    def wrong(text):
        with pytest.raises(ConfigError) as caught:
            read(text)
        prefix = f"{tmp_path}/climits.toml:"
        assert all(problem.startswith(prefix) for problem in caught.value.problems)
        return [problem.removeprefix(prefix) for problem in caught.value.problems]

    return wrong


@pytest.fixture
def wrong_key(wrong):
    """wrong_key(LINE) is the one problem of a program with that line, without its place."""

    def wrong_key(text):
        (problem,) = wrong(f'[program.web]\ncommand = "true"\nmemory = "9M"\n{text}\n')
        line, _, rest = problem.partition(": ")
        assert line == "4"
        assert rest.startswith("program.web.")
        return rest.removeprefix("program.web.")

    return wrong_key


# ---- a good file ---------------------------------------------------------------------------


def test_the_least(one, tmp_path):
    program = one("")
    assert program.name == "web"
    assert program.command == ["true"]
    assert program.options == {}
    assert program.policy == Policy()
    assert (program.alarms, program.depends_on) == ((), ())
    assert (program.stdout, program.stderr, program.autostart) == (None, None, True)


def test_the_path_is_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text('program.a.command = "true"\ncwd = 1')
    with pytest.raises(ConfigError, match=r"^c\.toml:2: "):
        load("c.toml")
    Path("c.toml").write_text('program.a.command = "true"')
    config = load("c.toml")
    assert isinstance(config, Config)
    assert config.path == "c.toml"


def test_options_are_spec_s(one, tmp_path):
    text = """
        memory = "60M"
        swap = 0
        high = "50%"
        low = "1.5M"
        min = 4096
        swappiness = 10
        on_oom = "kill-group"
        pids = 100
        cpus = 1.5
        cpuset = "0-1"
        user = "root"
        group = 0
        cwd = "sub/../here"
        nice = -5
        oom_score_adj = 500
    """
    assert one(text).options == {
        "memory": "60M", "swap": 0, "high": "50%", "low": "1.5M", "min": 4096, "swappiness": 10,
        "on_oom": "kill-group", "pids": 100, "cpus": 1.5, "cpuset": "0-1", "user": "root",
        "group": 0, "cwd": f"{tmp_path}/here", "nice": -5, "oom_score_adj": 500,
    }  # fmt: skip


def test_spec_takes_them(one, layout):
    from climits.program.spec import Spec

    program = one('memory = "60M"\npids = 5\nuser = "root"\nnice = 1\nenv.A = "b"\ncwd = "/"')
    spec = Spec(program.command, **program.options)
    assert spec.limits.memory.max == 60 * M
    assert spec.env["A"] == "b"


def test_policy_is_a_policy(one):
    text = """
        memory = "10M"
        restart = "on-failure"
        restart_delay = "250ms"
        restart_delay_max = "2m"
        healthy_after = 30
        max_oom_restarts = "5/1m"
        max_restarts = "max"
        grow = 2
        grow_max = "500M"
        stop_signal = "INT"
        stop_timeout = "1.5s"
        child_oom = "restart"
    """
    assert one(text).policy == Policy(
        restart="on-failure", restart_delay=0.25, restart_delay_max=120.0, healthy_after=30.0,
        max_oom_restarts=(5, 60.0), max_restarts=None, grow=2.0, grow_max=500 * M, stop_signal=2,
        stop_timeout=1.5, child_oom="restart",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "number"),
    [('"TERM"', 15), ('"SIGTERM"', 15), ('"usr1"', 10), ("9", 9), ("34", 34), ('"RTMIN"', 34)],
)
def test_signals(one, value, number):
    assert one(f"stop_signal = {value}").policy.stop_signal == number


def test_a_long_delay_raises_its_own_cap(one):
    assert one('restart_delay = "5m"').policy.restart_delay_max == 300.0
    assert one('restart_delay = "5s"').policy.restart_delay_max == Policy.restart_delay_max


def test_grow_max_may_be_a_share_of_the_ram(one):
    limit = one('memory = "1M"\ngrow = 2\ngrow_max = "50%"').policy.grow_max
    assert isinstance(limit, int) and limit > 1 * M
    assert one('memory = "1M"\ngrow = 2\ngrow_max = "max"').policy.grow_max == UNLIMITED


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"a b  c"', ["a", "b", "c"]),
        ("""'sh -c "exec sleep 1"'""", ["sh", "-c", "exec sleep 1"]),
        ('["a b", "", "$HOME"]', ["a b", "", "$HOME"]),
        ('"""\n a\n b"""', ["a", "b"]),
    ],
)
def test_commands(read, value, words):
    (program,) = read(f"[program.web]\ncommand = {value}").programs
    assert program.command == words


def test_environment(one, monkeypatch):
    monkeypatch.setattr(os, "environ", {"HOME": "/root", "A": "ours"})
    assert "env" not in one("").options  # inherited
    assert one('env.A = "b"').options["env"] == {"HOME": "/root", "A": "b"}
    assert one('clear_env = true\nenv = {A = "", B = "c d"}').options["env"] == {
        "A": "",
        "B": "c d",
    }
    assert one("clear_env = true").options["env"] == {}


def test_programs_with_one_environment_share_it(read):
    programs = read(
        '[defaults.env]\nA = "b"\n'
        + "".join(f'[program.p{n}]\ncommand = "true"\n' for n in range(3))
        + 'env.C = "d"\n'
    ).programs
    first, second, third = (program.options["env"] for program in programs)
    assert first is second
    assert programs[0].policy is programs[2].policy
    assert third == {**first, "C": "d"}


def test_logs(one, tmp_path):
    program = one('stdout = "out.log"\nstderr = "/var/log/x/err.log"')
    assert program.stdout == LogConfig(path=f"{tmp_path}/out.log", max_size=10 * M, keep=3)
    assert program.stderr == LogConfig(path="/var/log/x/err.log")
    program = one('stdout = {path = "{name}-{name}.log", max_size = "1M", keep = 0}')
    assert program.stdout == LogConfig(path=f"{tmp_path}/web-web.log", max_size=M, keep=0)
    assert program.stderr is None
    assert one('[program.web.stdout]\npath = "a"\nmax_size = "max"').stdout.max_size == UNLIMITED


def test_joined_logs(one):
    assert one('stdout = "out.log"\nstderr = "stdout"').stderr == "stdout"
    assert one('stderr = "stdout"').stdout is None
    assert one('stderr = "./stdout"').stderr.path.endswith("/stdout")


def test_defaults_stand_behind_each_program(read, tmp_path):
    text = """
        [defaults]
        memory = "60M"
        restart = "always"
        depends_on = []
        stdout = {path = "{name}.log", keep = 9}
        stderr = "stdout"
        env = {A = "1", B = "2"}

        [program.a]
        command = "true"

        [program.b]
        command = "true"
        memory = "5M"
        restart = "never"
        stdout.max_size = "1M"
        stderr = "b.err"
        env.B = "3"
    """
    a, b = read(text).programs
    assert (a.options["memory"], b.options["memory"]) == ("60M", "5M")
    assert (a.policy.restart, b.policy.restart) == ("always", "never")
    assert a.stdout == LogConfig(path=f"{tmp_path}/a.log", keep=9)
    assert b.stdout == LogConfig(path=f"{tmp_path}/b.log", keep=9, max_size=M)
    assert (a.stderr, b.stderr) == ("stdout", LogConfig(path=f"{tmp_path}/b.err"))
    assert [p.options["env"]["A"] + p.options["env"]["B"] for p in (a, b)] == ["12", "13"]


def test_log_settings_without_a_path_wait_for_one(read, tmp_path):
    text = '[defaults.stdout]\nkeep = 1\n[program.a]\ncommand = "a"\n'
    text += '[program.b]\ncommand = "b"\nstdout = "b.log"'
    a, b = read(text).programs
    assert a.stdout is None
    assert b.stdout == LogConfig(path=f"{tmp_path}/b.log", keep=1)


def test_any_number_of_programs_may_share_a_device(read):
    text = '[defaults]\nstdout = "/dev/null"\nstderr = "/dev/null"\n'
    text += '[program.a]\ncommand = "a"\n[program.b]\ncommand = "b"\n'
    assert {program.stdout.path for program in read(text).programs} == {"/dev/null"}


def test_programs_start_after_what_they_depend_on(read):
    text = "".join(
        f'[program.{name}]\ncommand = "true"\ndepends_on = {needs}\n'
        for name, needs in (
            ("web", ["app", "log"]), ("z", []), ("app", ["db"]), ("log", []), ("db", ["log"]),
        )
    )  # fmt: skip
    config = read(text)
    assert [program.name for program in config.programs] == ["log", "db", "app", "web", "z"]
    assert config.programs[3].depends_on == ["app", "log"]


def test_a_good_file_is_not_searched_for_line_numbers(one, monkeypatch):
    monkeypatch.setattr("climits.supervise.toml_lines._Walk", None)
    assert one("pids = 5").options == {"pids": 5}


def test_a_problem_within_deep_nesting_has_its_line_too(tmp_path):
    path = tmp_path / "c.toml"
    refused = set()
    for depth in range(50, 1000, 10):
        path.write_text(f"[program.a]\nargv = {'[' * depth}{']' * depth}")
        with pytest.raises(ConfigError) as caught:
            load(str(path))
        refused.add(caught.value.problems[-1].removeprefix(f"{path}:"))
    assert refused == {
        "2: program.a.argv: unknown; hint: the reference, climits.toml.md, lists all keys",
        "1: nested too deeply",
    }


def test_a_long_chain(read):
    text = "".join(
        f'[program.p{n}]\ncommand = "true"\ndepends_on = ["p{n + 1}"]\n' for n in range(3000)
    )
    programs = read(text + '[program.p3000]\ncommand = "true"\n').programs
    assert [program.name for program in programs] == [f"p{n}" for n in range(3000, -1, -1)]


def test_alarms(one):
    text = """
        [[program.web.alarm]]
        source = "threshold"
        level = "80%"
        [[program.web.alarm]]
        source = "oom"
    """
    assert one(text).alarms == [
        make_alarm({"source": "threshold", "level": "80%"}), make_alarm({"source": "oom"})
    ]  # fmt: skip


def test_the_line_of_a_bad_alarm_is_that_of_its_key(wrong):
    text = """\
[program.web]
command = "true"
[[program.web.alarm]]
source = "oom"
[[program.web.alarm]]
source = "threshold"
signal = "TREM"
level = "80%"
[[program.web.alarm]]
signal = "TERM"
"""
    assert [problem.partition(": ")[0] for problem in wrong(text)] == ["7", "9"]


def test_a_program_s_alarms_take_the_place_of_the_defaults(read):
    text = '[[defaults.alarm]]\nsource = "oom"\n[program.a]\ncommand = "a"\n'
    text += '[program.b]\ncommand = "b"\nalarm = []\n'
    a, b = read(text).programs
    assert (a.alarms, b.alarms) == ([make_alarm({"source": "oom"})], ())


def test_autostart(one):
    assert one("autostart = false").autostart is False


# ---- problems ------------------------------------------------------------------------------


def test_all_problems_are_told_together_in_the_order_of_the_file(wrong):
    text = """\
[program.web]
comand = "true"
memory = "60MB"

[program.db]
command = []
depends_on = [
    "web",
    "wbe",
]
stop_signal = 99

[defaults]
cpus = 0
"""
    assert wrong(text) == [
        '1: program.web: no command; hint: add command = "..."',
        "2: program.web.comand: unknown; hint: did you mean command?",
        "3: program.web.memory: 60MB: MB can mean powers of 1000 or of 1024; "
        "hint: write 60M or 60MiB for powers of 1024",
        "6: program.db.command: empty; hint: name the program to run",
        "7: program.db.depends_on: wbe: no such program; hint: did you mean web?",
        "11: program.db.stop_signal: 99: no such signal; hint: write it like TERM, or its number",
        "14: defaults.cpus: 0: out of range; hint: write the number of CPUs, such as 1.5",
    ]


def test_the_error_is_one_line(read, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read('[program.web]\ncommand = "true"\nmemory = -1\n')
    error = caught.value
    assert isinstance(error, ClimitsError) and isinstance(error, ValueError)
    assert str(error) == error.problems[0]
    assert error.path == f"{tmp_path}/climits.toml"
    with pytest.raises(ConfigError) as caught:
        read('[program.web]\nmemory = -1\nswap = "x"\n')
    error = caught.value
    assert str(error) == f"{error.problems[0]} (and 2 more problems)"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems, again.path) == (str(error), error.problems, error.path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("swap = true", "swap: True: not a size; hint: write bytes, or a number with K, M, G or T "
         "(powers of 1024), like 60M or 1.5G"),
        ('high = "lots"', "high: lots: not a size; hint: write bytes, or a number with K, M, G or "
         "T (powers of 1024), like 60M or 1.5G"),
        ("low = -1", "low: -1: a size cannot be negative; hint: for no limit write max"),
        ("min = 1.5", "min: 1.5: not a size; hint: write bytes, or a number with K, M, G or T "
         "(powers of 1024), like 60M or 1.5G"),
        ("swappiness = 201", "swappiness: 201: out of range; hint: write 0 to 200"),
        ('swappiness = "5"', "swappiness: 5: not a whole number; hint: write 0 to 200"),
        ('on_oom = "kill-groop"', "on_oom: kill-groop: unknown; hint: did you mean kill-group?"),
        ("on_oom = 1", "on_oom: 1: unknown; hint: write one of kill, kill-group, pause"),
        ("pids = 0", "pids: 0: out of range; hint: write 1 to 2147483647"),
        ("pids = true", "pids: true: not a whole number; hint: write 1 to 2147483647"),
        (f"pids = 0x{10**90:x}", "pids: an integer of 299 bits: out of range; hint: write 1 to "
         "2147483647"),
        ('cpus = "2"', "cpus: 2: not a number"),
        ("cpus = nan", "cpus: nan: out of range"),
        ("cpus = 1_000_000", "cpus: 1e+06: out of range; hint: write the number of CPUs, such as "
         "1.5"),
        ('cpuset = " "', "cpuset: empty; hint: write CPUs such as 0-1,3"),
        ("cpuset = 1", "cpuset: 1: not text; hint: put it in quotation marks"),
        ('user = "no-such-user"', "user: no-such-user: no such user; hint: write a user name or a "
         "number"),
        ("user = -1", "user: -1: no such user; hint: write a user name or a number"),
        ('user = "\\u0000"', r"user: '\x00': a NUL byte may not stand in it"),
        ("user = 3999999999", "user: 3999999999: no such user, so its group is not known; "
         "hint: give a group too"),
        ('user = "99999999999999999999"', "user: 99999999999999999999: no such user; hint: write a "
         "user name or a number"),
        ('group = "no-such-group"', "group: no-such-group: no such group; hint: write a group name "
         "or a number"),
        ('cwd = ""', "cwd: empty"),
        ("nice = 20", "nice: 20: out of range; hint: write -20 to 19"),
        ("oom_score_adj = -1001", "oom_score_adj: -1001: out of range; hint: write -1000 to 1000"),
        ('restart = "on_oom"', "restart: on_oom: unknown; hint: did you mean on-oom?"),
        ("restart = [1]", "restart: [1]: unknown; hint: write one of on-oom, on-failure, always, "
         "never"),
        ('restart_delay = "1d"', "restart_delay: 1d: not a duration; hint: write seconds, or a "
         "number with ms, s, m or h, like 250ms or 1.5s"),
        ("restart_delay_max = -1", "restart_delay_max: -1: a duration cannot be negative; hint: "
         "write seconds, or a number with ms, s, m or h, like 250ms or 1.5s"),
        ("healthy_after = 1979-05-27", "healthy_after: datetime.date(1979, 5, 27): not a duration; "
         "hint: write seconds, or a number with ms, s, m or h, like 250ms or 1.5s"),
        ("max_restarts = 5", "max_restarts: 5: not a budget; hint: write a count and a period, "
         "like 5/1m, or max for no end"),
        ('max_restarts = "5/0s"', "max_restarts: 5/0s: a period must be longer than nothing; hint: "
         "write a count and a period, like 5/1m, or max for no end"),
        ('max_oom_restarts = "5/day"', "max_oom_restarts: day: not a duration; hint: write "
         "seconds, or a number with ms, s, m or h, like 250ms or 1.5s"),
        ('max_oom_restarts = "-5/1m"', "max_oom_restarts: -5/1m: not a budget; hint: write a count "
         "and a period, like 5/1m, or max for no end"),
        ("grow = 1", "grow: 1: must be more than 1; hint: write 1.5 for half as much again"),
        ("grow = inf", "grow: inf: out of range"),
        ('grow_max = "10M"', "grow_max: has no meaning without grow; hint: add grow = 1.5"),
        (f"stop_signal = 0x{'f' * 5000}", "stop_signal: an integer of 20000 bits: no such signal; "
         "hint: write it like TERM, or its number"),
        ("stop_signal = true", "stop_signal: true: not text; hint: put it in quotation marks"),
        ('stop_signal = "TREM"', "stop_signal: TREM: no such signal; hint: did you mean TERM?"),
        ("stop_signal = 0", "stop_signal: 0: no such signal; hint: write it like TERM, or its "
         "number"),
        ('stop_timeout = ""', "stop_timeout: empty; hint: write seconds, or a number with ms, s, m "
         "or h, like 250ms or 1.5s"),
        ('child_oom = "kill"', "child_oom: kill: unknown; hint: write one of ignore, restart"),
        ("clear_env = 1", "clear_env: 1: neither true nor false"),
        ('autostart = "no"', "autostart: no: neither true nor false"),
        ('depends_on = "db"', 'depends_on: db: not a list; hint: write it like ["a", "b"]'),
        ('depends_on = ["web"]', "depends_on: web -> web: a circle"),
        ('depends_on = ["db"]', "depends_on: db: no such program"),
        ("env = 1", "env: 1: not a table; hint: write [program.web.env]"),
        ("env.A = 1", 'env.A: 1: not text; hint: write "1"'),
        ("env.A = true", 'env.A: true: not text; hint: write "true"'),
        ("env.A = []", "env.A: []: not text; hint: put it in quotation marks"),
        ('env."A=B" = "c"', "env.'A=B': not a name for a variable"),
        ('env.A = "\\u0000"', r"env.A: '\x00': a NUL byte may not stand in it"),
        ("stdout = 1", "stdout: 1: not a table; hint: write [program.web.stdout]"),
        ('stdout = ""', "stdout: empty"),
        ("stdout = {keep = 1}", 'stdout: no path; hint: add path = "FILE"'),
        ('stdout = {path = "a", keep = -1}', "stdout.keep: -1: out of range; hint: write 0 to "
         "1000"),
        ('stdout = {path = "a", max_size = 10}', "stdout.max_size: 10: less than 4096 bytes; hint: "
         "write max for no rotation"),
        ('stdout = {path = "a", max_size = "5%"}', "stdout.max_size: 5%: a percentage has no "
         "meaning here; hint: write bytes, or a number with K, M, G or T (powers of 1024), like "
         "60M or 1.5G"),
        ('stdout = {path = "a", kep = 1}', "stdout.kep: unknown; hint: did you mean keep?"),
        ('stdout = "/dev"', "stdout: /dev: a directory; hint: name the file in it"),
        ("memry = 'x'", "memry: unknown; hint: the reference, climits.toml.md, lists all keys"),
        ("nise = 'x'", "nise: unknown; hint: did you mean nice?"),
        ("zzz = 'x'", "zzz: unknown; hint: the reference, climits.toml.md, lists all keys"),
        ("alarm = 5", "alarm: not a list; hint: write [[program.web.alarm]]"),
        ("alarm = [5]", "alarm[0]: 5: not a table"),
        ('alarm = [{source = "threshold", level = "60MB"}]', "alarm[0].level: 60MB: MB can "
         "mean powers of 1000 or of 1024; hint: write 60M or 60MiB for powers of 1024"),
        ('alarm = [{source = "oom", lvel = 1}]', "alarm[0].lvel: unknown; hint: did you mean "
         "level?"),
        ("alarm = [{}]", "alarm[0]: source: missing; hint: one of threshold, oom, under-oom, "
         "limit, pressure, populated, empty, swap"),
    ],
)  # fmt: skip
def test_each_bad_value_is_named(wrong_key, line, problem):
    assert wrong_key(line) == problem


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("5", "5: neither text nor a list of words"),
        ('""', "empty"),
        ('"  "', "empty; hint: name the program to run"),
        ('[""]', "empty; hint: name the program to run"),
        ('"a \'b"', "a 'b: no closing quotation; hint: or write it as a list of words"),
    ],
)
def test_bad_commands(wrong, command, problem):
    (found,) = wrong(f"[program.web]\ncommand = {command}\n")
    if command == '[""]':
        assert found == "2: program.web.command[0]: empty"
    else:
        assert found == f"2: program.web.command: {problem}"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["1: no program; hint: add [program.NAME]"]),
        ("\n[program]\n", ["2: no program; hint: add [program.NAME]"]),
        ("program = 1", ["1: program: 1: not a table; hint: write [program]"]),
        ("[[program]]\ncommand = 'x'", ["1: program: [{'command': 'x'}]: not a table; hint: write "
                                        "[program]"]),
        ("program.web = 1", ["1: program.web: 1: not a table; hint: write [program.web]"]),
        ("program.a.command = 'x'\ndefaults = 1", ["2: defaults: 1: not a table; hint: write "
                                                   "[defaults]"]),
        ("memory = '1M'\nprogram.a.command = 'x'", ["1: memory: stands outside of a table; hint: "
                                                    "the file has [defaults] and [program.NAME]"]),
        ("program.a.command = 'x'\n[programs]", ["2: programs: unknown; hint: did you mean "
                                                 "program?"]),
        ("program.a.command = 'x'\n[www]", ["2: www: unknown; hint: the file has [defaults] and "
                                            "[program.NAME]"]),
        ("[defaults]\ncommand = 'x'\n[program.a]\ncommand = 'x'", [
            "2: defaults.command: has no meaning; hint: each program has its own"]),
        ("[program.'a/b']\ncommand = 'x'", [
            "1: program.'a/b': 'a/b': a slash may not stand in a name; hint: a plain name; the "
            "parent says where it is made"]),
    ],
)  # fmt: skip
def test_problems_of_the_whole_file(wrong, text, problems):
    assert wrong(text) == problems


def test_circles(wrong):
    text = "".join(
        f'[program.{name}]\ncommand = "true"\ndepends_on = ["{needs}"]\n'
        for name, needs in (("a", "b"), ("b", "c"), ("c", "b"), ("d", "a"), ("e", "e"))
    )
    assert wrong(text) == [
        "9: program.c.depends_on: b -> c -> b: a circle",
        "15: program.e.depends_on: e -> e: a circle",
    ]


def test_two_logs_in_one_file(wrong, tmp_path):
    text = """\
[defaults]
stderr = "err.log"
[program.a]
command = "true"
stdout = "x/../out.log"
[program.b]
command = "true"
[program.b.stdout]
keep = 2
path = "out.log"
[program.c]
command = "true"
stdout = "out.log.3"
stderr = "out.log.4"
"""
    assert wrong(text) == [
        f"2: program.b.stderr: {tmp_path}/err.log: a's stderr goes there too; "
        "hint: {name} in a path stands for the program's name",
        f"10: program.b.stdout: {tmp_path}/out.log: a's stdout goes there too; "
        "hint: {name} in a path stands for the program's name",
        f"13: program.c.stdout: {tmp_path}/out.log.3: a's stdout is rotated to there",
    ]


def test_both_outputs_in_one_file_are_to_be_joined(wrong, tmp_path):
    text = '[program.a]\ncommand = "true"\nstdout = "a.log"\nstderr = "a.log"\n'
    assert wrong(text) == [
        f"4: program.a.stderr: {tmp_path}/a.log: a's stdout goes there too; "
        'hint: write stderr = "stdout" to join them'
    ]


def test_growth_needs_a_limit_and_room(wrong):
    start = '[program.a]\ncommand = "true"\ngrow = 1.5\n'
    assert wrong(start) == [
        '3: program.a.grow: there is no memory limit that could grow; hint: add memory = "60M"'
    ]
    assert wrong(start + 'memory = "max"') == [
        '3: program.a.grow: no limit cannot grow; hint: change memory = "max"'
    ]
    assert wrong(start + 'memory = "60M"\ngrow_max = "60M"') == [
        "5: program.a.grow_max: not more than memory = 60M"
    ]
    assert len(wrong(start + 'memory = "60MB"')) == 1  # and no second one


def test_a_delay_above_its_cap(wrong):
    text = "[program.a]\ncommand = 'x'\nrestart_delay = '2s'\nrestart_delay_max = '1s'"
    assert wrong(text) == ["4: program.a.restart_delay_max: less than restart_delay"]


def test_a_user_without_an_entry_needs_a_group(one):
    assert one("user = 3999999999\ngroup = 5").options["user"] == 3999999999


# ---- a file that cannot be read ------------------------------------------------------------


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(f"{tmp_path}/x.toml")
    text = f"{tmp_path}/x.toml: cannot read the configuration: no such file or directory"
    assert caught.value.problems == [text] == [str(caught.value)]
    assert caught.value.errno == 2


def test_not_a_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration: is a directory$"):
        load(str(tmp_path))
    with pytest.raises(ConfigError, match=r"cannot read the configuration: embedded null byte$"):
        load("a\0b")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a = 1\nb = \n", "2: invalid value"),
        (b"a = 1\n[b\nc = 1", "2: expected ']' at the end of a table declaration"),
        (b"a = 1\na = 2\n", "2: cannot overwrite a value"),
        (b"a = 1\nb = [1,\n2,\n", "3: invalid value"),
        (b"a = 1\nb = \xff\n", "2: not UTF-8: byte 0xff"),
        (b"a = " + b"[" * 100_000, "1: nested too deeply"),
        (b'\n\na = "\xff"\n\n', "3: not UTF-8: byte 0xff"),
        (b"\n\na = [1,\n\n\n", "3: invalid value"),
        (b"\n\na = " + b"1" * 5000, "1: exceeds the limit (4300 digits)"),
    ],
)
def test_what_is_not_toml(tmp_path, data, problem):
    path = tmp_path / "c.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    (found,) = caught.value.problems
    assert found.startswith(f"{path}:{problem}")
    assert " (at " not in found  # tomllib's own words for the place


# ---- containers ----------------------------------------------------------------------------


def test_a_container_has_the_keys_of_container(one, tmp_path):
    import inspect

    from climits.program.container import Container

    for name in ("root", "layer", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "profile.json").write_text("{}")
    program = one("""
        [program.web.container]
        rootfs = "root"
        overlay = true
        overlay_dir = "layer"
        binds = ["data:/data:ro", "/etc:/host/etc"]
        tmpfs = ["/scratch:20M", "/other"]
        read_only = true
        hostname = "{name}-1"
        network = "host"
        share = ["ipc", "cgroup"]
        init = false
        cap_add = ["net_raw"]
        cap_drop = ["ALL"]
        no_new_privs = false
        seccomp = "profile.json"
        devices = ["/dev/null"]
    """)
    options = program.options["container"]
    assert options == {
        "rootfs": f"{tmp_path}/root", "overlay": True, "overlay_dir": f"{tmp_path}/layer",
        "binds": [f"{tmp_path}/data:/data:ro", "/etc:/host/etc"],
        "tmpfs": ["/scratch:20M", "/other"], "read_only": True, "hostname": "web-1",
        "network": "host", "share": ["ipc", "cgroup"], "init": False, "cap_add": ["net_raw"],
        "cap_drop": ["ALL"], "no_new_privs": False, "seccomp": f"{tmp_path}/profile.json",
        "devices": ["/dev/null"],
    }  # fmt: skip
    assert set(options) == set(config_container.KEYS)
    arguments = inspect.signature(Container.__init__).parameters
    # The others are for bundles.
    others = {"ambient", "gid_map", "masked", "protected", "rlimits", "uid_map"}
    assert {*config_container.KEYS, *others, "self"} == set(arguments)


def test_an_empty_table_is_a_container_too(one, read):
    assert one("[program.web.container]").options["container"] == {}
    assert "container" not in one("").options
    text = "[defaults.container]\n[program.web]\ncommand = 'a'"
    assert read(text).programs[0].options["container"] == {}


def test_the_defaults_of_a_container_are_mixed_key_by_key(read, tmp_path):
    (tmp_path / "db").mkdir()
    text = """
        [defaults.container]
        rootfs = "/usr"
        overlay_dir = "{name}"
        hostname = "{name}"
        [program.db]
        command = "a"
        container.hostname = "data"
        [program.web]
        command = "a"
        container = false
    """
    db, web = read(text).programs
    assert db.options["container"] == {
        "rootfs": "/usr", "overlay_dir": f"{tmp_path}/db", "hostname": "data",
    }  # fmt: skip
    assert "container" not in web.options
    swapped = "[defaults]\ncontainer = false\n[program.a]\ncommand = 'a'\ncontainer.init = true"
    assert read(swapped).programs[0].options["container"] == {"init": True}


def test_users_are_those_of_the_rootfs(read, wrong, tmp_path):
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("inside:x:77:78::/:/bin/sh\n")
    (tmp_path / "root/etc/group").write_text("crew:x:78:\n")
    text = """
        [defaults]
        user = "inside"
        group = "crew"
        [program.web]
        command = "a"
        container.rootfs = "root"
    """
    (program,) = read(text).programs
    assert (program.options["user"], program.options["group"]) == ("inside", "crew")
    assert wrong(text.replace("container.rootfs", "#")) == [
        "3: program.web.user: inside: no such user; hint: write a user name or a number",
        "4: program.web.group: crew: no such group; hint: write a group name or a number",
    ]
    assert wrong(text.replace('"inside"', '"root"').replace('"crew"', '"root"')) == [
        "3: program.web.user: root: no such user; hint: write a user name or a number",
        "4: program.web.group: root: no such group; hint: write a group name or a number",
    ]


def test_all_problems_of_a_container_are_told_with_their_lines(wrong, tmp_path):
    (tmp_path / "layer").mkdir()
    text = """\
[defaults.container]
hostname = "{name}"
overlay_dir = "layer"
seccomp = "defualt"
[program.db]
command = "a"
[program.web]
command = "a"
cwd = "sub"
[program.web.container]
rootfs = "nonesuch"
share = ["uts", "nett"]
binds = [
    "/etc:/etc",
    "nonesuch:/data",
    "/etc",
    "/etc:etc",
]
cap_add = ["net_raww"]
tmpfs = ["/a:20MB"]
hostnam = "x"
init = "no"
"""
    profile = f"seccomp: {tmp_path}/defualt: no such file; hint: did you mean default?"
    assert wrong(text) == [
        "3: program.db.container.overlay_dir: needs a rootfs; hint: add rootfs = \"DIR\"",
        f"3: program.web.container.overlay_dir: {tmp_path}/layer: db's is the same; hint: {{name}} "
        "in a path stands for the program's name",
        f"4: program.db.container.{profile}",
        f"4: program.web.container.{profile}",
        "9: program.web.cwd: sub: not absolute; hint: it is a path inside the rootfs",
        f"11: program.web.container.rootfs: {tmp_path}/nonesuch: no such directory; hint: name a "
        "directory that exists",
        "12: program.web.container.share[1]: nett: unknown; hint: did you mean net?",
        f"15: program.web.container.binds[1]: {tmp_path}/nonesuch: no such file or directory; "
        "hint: make it first",
        "16: program.web.container.binds[2]: /etc: not SOURCE:TARGET; hint: write /srv/data:/data "
        "or ...:ro",
        "17: program.web.container.binds[3]: /etc:etc: etc is not a place inside; hint: write an "
        "absolute path without ..",
        "19: program.web.container.cap_add[0]: net_raww: no such capability; hint: did you mean "
        "NET_RAW?",
        "20: program.web.container.tmpfs[0]: 20MB: MB can mean powers of 1000 or of 1024; hint: "
        "write 20M or 20MiB for powers of 1024",
        "21: program.web.container.hostnam: unknown; hint: did you mean hostname?",
        "22: program.web.container.init: no: neither true nor false",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("container = 1", "container: 1: not a table; hint: write [program.web.container]"),
        ("container = true", "container: true: not a table; hint: write [program.web.container]"),
        ("container.rootfs = 1", "container.rootfs: 1: not text; hint: put it in quotation marks"),
        ("container = {rootfs = 1, overlay = true}",
         "container.rootfs: 1: not text; hint: put it in quotation marks"),
        ("container.overlay = true",
         'container.overlay: needs a rootfs; hint: add rootfs = "DIR"'),
        ('container.binds = "/a:/b"',
         'container.binds: /a:/b: not a list; hint: write it like ["a", "b"]'),
        ('container.network = "hots"',
         "container.network: hots: unknown; hint: did you mean host?"),
        ('container = {hostname = "a", share = ["uts"]}', "container.hostname: needs a uts "
         "namespace of its own; hint: take uts out of share"),
        ('container = {init = true, share = ["pid"]}', "container.init: needs a pid namespace of "
         "its own; hint: take pid out of share"),
        ('container.devices = ["/dev/nul"]',
         "container.devices[0]: /dev/nul: no such device; hint: name one such as /dev/fuse"),
        ("container.zzz = 1", f"container.zzz: unknown; hint: a container has "
         f"{', '.join(config_container.KEYS)}"),
        ('container.cap_drop = ["zzz"]',
         "container.cap_drop[0]: zzz: no such capability; hint: see capabilities(7)"),
    ],
)  # fmt: skip
def test_each_bad_value_of_a_container_is_named(wrong_key, line, problem):
    assert wrong_key(line) == problem


# ---- anything ------------------------------------------------------------------------------

KEYS = (*config_values.KEYS, *config_values.TABLES)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["60M", "10%", "max", "1s", "5/1m", "TERM", "kill", "root", "stdout", "web"]),
)
ALARMS = st.dictionaries(
    st.one_of(st.sampled_from(alarms.KEYS), st.text()),
    st.one_of(VALUES, st.sampled_from(SOURCES), st.lists(VALUES)),
)
CONTAINERS = st.dictionaries(
    st.one_of(st.sampled_from(list(config_container.KEYS)), st.text()),
    st.one_of(VALUES, st.lists(st.one_of(VALUES, st.sampled_from(["/etc:/a:ro", "/b:1M", "uts"])))),
)
TABLES = st.dictionaries(
    st.one_of(st.sampled_from(KEYS), st.text()),
    st.one_of(
        VALUES, st.lists(VALUES), st.lists(ALARMS), st.dictionaries(st.text(), VALUES), CONTAINERS
    ),
)


def toml(value):
    """A value as TOML; of floats and text, what JSON and TOML have in common."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return '"' + "".join(f"\\U{ord(c):08x}" for c in value or "") + '"'


@given(defaults=TABLES, programs=st.dictionaries(st.text(), TABLES, max_size=3))
def test_whatever_stands_in_it_is_read_or_refused(tmp_path_factory, defaults, programs):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    text = "[defaults]\n" + "".join(f"{toml(k)} = {toml(v)}\n" for k, v in defaults.items())
    for name, table in programs.items():
        text += f"[program.{toml(name)}]\n"
        text += "".join(f"{toml(k)} = {toml(v)}\n" for k, v in table.items())
    path.write_text(text, encoding="utf-8")
    check_any(path)


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_whatever_it_is_it_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    check_any(path)


def check_any(path):
    try:
        config = load(str(path))
    except ConfigError as e:
        assert e.problems
        for problem in e.problems:
            assert problem.isprintable()
            assert re.match(rf"{path}:\d+: ", problem)
            assert int(problem.removeprefix(f"{path}:").partition(":")[0]) >= 1
    else:
        assert config.programs


# ---- lines ---------------------------------------------------------------------------------


class Writer:
    """Writes a document in which each number is the number of the line that it stands on."""

    def __init__(self, draw):
        self.draw = draw
        self.text = ""
        self.names = 0

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def times(self, most=3):
        return range(self.draw(st.integers(0, most)))

    def line(self):
        return self.text.count("\n") + 1

    def gap(self):
        """What may stand between two elements of an array."""
        for _ in self.times():
            self.text += self.one_of(" ", "\n", "\t", "# ] } \" ''' [x]\n", "\n\n  ")

    def key(self):
        self.names += 1
        name = f"k{self.names}"
        form = self.one_of("{}", "'{}'", '"{}"', "'{}.x]=#'", '"{} \\"\\u0041\\\\"', "{}-_9")
        return form.format(name)

    def dotted(self):
        keys = [self.key() for _ in (0, *self.times(2))]
        return self.one_of(".", " . ", ".").join(keys)

    def value(self, depth=0):
        kind = self.one_of("line", "line", "line", "text", "other", "list", "table")
        if kind in ("list", "table") and depth > 2:
            kind = "line"
        if kind == "line":
            self.text += str(self.line())
        elif kind == "text":
            self.text += self.one_of(
                '"""\n[x]\nk1 = 1\n\\""" # \\\\"""',
                "'''\n\\\n''x'''", '""""\n"""""', "'''''\n'''''",
                "''", '""', '"# \\" ]"', "'# \\'", '"""a\\\n   b"""', "''''x''''",
            )  # fmt: skip
        elif kind == "other":
            self.text += self.one_of("true", "1.5e3", "-inf", "1979-05-27 07:32:00", "07:32:00")
        elif kind == "list":
            self.text += "["
            for _ in self.times():
                self.gap()
                self.value(depth + 1)
                self.gap()
                self.text += ","
            if self.text.endswith(",") and self.draw(st.booleans()):
                self.text = self.text[:-1]  # the last comma is for who wants it
            self.gap()
            self.text += "]"
        else:
            self.text += "{ "
            for number in self.times():
                self.text += ", " if number else ""
                self.text += f"{self.dotted()} = "
                self.value(depth + 1)
            self.text += " }"

    def pair(self):
        self.text += f"{self.one_of('', '  ')}{self.dotted()}{self.one_of('=', ' = ', '	=  ')}"
        self.value()
        self.text += self.one_of("", " ", " # k1 = 2", "# [[x]]") + "\n"

    def table(self, arrays):
        prefix = ""
        if arrays and self.draw(st.booleans()):
            prefix = self.draw(st.sampled_from(arrays)) + "."
        name = prefix + self.dotted()
        if self.draw(st.booleans()):
            self.text += f"[{self.one_of('', ' ')}{name}{self.one_of('', ' ')}] # ]\n"
            self.pairs()
            return
        for _ in range(self.draw(st.integers(1, 3))):
            self.text += f"  [[{name}]]\n"
            self.pairs()
            if self.draw(st.booleans()):
                self.text += f"[{name}.{self.key()}]\n"
                self.pairs()
        arrays.append(name)

    def pairs(self):
        for _ in self.times():
            self.gap()
            self.text += "\n" if not self.text.endswith("\n") else ""
            self.pair()

    def document(self):
        self.pairs()
        arrays = []
        for _ in self.times(4):
            self.table(arrays)
        return self.text


@st.composite
def documents(draw):
    return Writer(draw).document()


def leaves(value, where=()):
    """(where, value) of everything in a document, tables and lists too."""
    yield where, value
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*where, key))


@given(documents())
@example("a.b = 1\na.c = 2\n[d.e]\nf = 4\n[d]\n[[g.h]]\n[g.h.i]\nj = 8\n[[g.h]]\nj = 10")
def test_each_number_is_the_line_that_it_stands_on(text):
    content, lines = parse(text.encode()), line_numbers(text.encode())
    assert content == tomllib.loads(text)
    found = dict(leaves(content))
    assert lines.keys() == found.keys()
    numbers = {where: n for where, n in found.items() if type(n) is int}
    assert {where: lines[where] for where in numbers} == numbers
    assert line_numbers(text.replace("\n", "\r\n").encode()) == lines


def test_the_generator_writes_what_it_is_for():
    seen = set()

    @given(documents())
    def look(text):
        content = tomllib.loads(text)
        numbers = [n for _, n in leaves(content) if type(n) is int]
        seen.update(["many"] if len(numbers) > 5 else [])
        seen.update(["array"] if re.search(r"^ *\[\[", text, re.MULTILINE) else [])
        seen.update(["long"] if '"""' in text or "'''" in text else [])

    look()
    assert seen == {"many", "array", "long"}


def test_the_line_of_a_table_is_its_header():
    text = b"""\
[a.b]
c = {d = 1, e.f = 2}
[a]
[[g]]
[[g]]
"""
    lines = line_numbers(text)
    assert lines == {
        (): 1, ("a",): 3, ("a", "b"): 1, ("a", "b", "c"): 2, ("a", "b", "c", "d"): 2,
        ("a", "b", "c", "e"): 2, ("a", "b", "c", "e", "f"): 2, ("g",): 4, ("g", 0): 4, ("g", 1): 5,
    }  # fmt: skip


@given(documents(), st.data())
def test_a_broken_document_is_refused_with_a_line_of_it(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    broken = text[:start] + text[end:]
    try:
        content = parse(broken.encode())
    except TomlError as e:
        assert 1 <= e.line <= broken.count("\n") + 1
        assert str(e)
    else:
        assert line_numbers(broken.encode()).keys() == dict(leaves(content)).keys()


# ---- the supervisor's own ------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1:9465", "[::1]:0", "localhost:80"])
def test_metrics(read, address):
    assert read(f'metrics = "{address}"\n[program.a]\ncommand = "b"\n').metrics == address
    assert read('[program.a]\ncommand = "b"\n').metrics is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('"9465"', "9465: no host; hint: write HOST:PORT, such as 127.0.0.1:9465, or 0.0.0.0:9465 "
         "for every interface"),
        ("9465", "9465: not text; hint: put it in quotation marks"),
        ("true", "true: not text; hint: put it in quotation marks"),
        ('{listen = "x"}', "a table: not text; hint: put it in quotation marks"),
        ('""', "empty"),
        ('"::1:9465"', "::1:9465: an IPv6 address stands in brackets; "
         "hint: write it like [::1]:9465"),
        ('"127.0.0.1:65536"', "127.0.0.1:65536: there are ports up to 65535 only; hint: write "
         "HOST:PORT, such as 127.0.0.1:9465, or 0.0.0.0:9465 for every interface"),
    ],
)  # fmt: skip
def test_bad_metrics(wrong, text, problem):
    found = wrong(f'# first\nmetrics = {text}\n[program.a]\ncommand = "b"\n')
    assert found == [f"2: metrics: {problem}"]


def test_metrics_belong_above_the_tables(wrong):
    text = '[defaults]\nmetrics = "a:1"\n[program.a]\ncommand = "b"\nmetrics = "a:1"\n'
    hint = "has no meaning; hint: it is the supervisor's: write it above the first table"
    assert wrong(text) == [f"2: defaults.metrics: {hint}", f"5: program.a.metrics: {hint}"]
    assert wrong('metric = "a:1"\n[program.a]\ncommand = "b"\n') == [
        "1: metric: unknown; hint: did you mean metrics?"
    ]


# ---- the reference -------------------------------------------------------------------------


def reference():
    return (DOCS / "climits.toml.md").read_text(encoding="utf-8")


def documented():
    """The names in the first column of the reference's tables."""
    return set(re.findall(r"^\| `([a-z_]+)`", reference(), re.MULTILINE))


def test_the_reference_has_each_key_and_no_other():
    assert documented() == {
        *config_values.KEYS, *config_values.TABLES, *config_values.LOG_KEYS,
        *alarms.KEYS, *config_container.KEYS, "metrics",
    }  # fmt: skip


def example_file():
    (text,) = re.findall(r"^```toml\n(# a complete example.*?)^```", reference(), re.M | re.S)
    return text


def test_the_example_is_good(read):
    config = read(example_file())
    assert [program.name for program in config.programs] == ["db", "web", "report"]
    assert config.metrics == "127.0.0.1:9465"
    db, web, report = config.programs
    assert web.depends_on == ["db"]
    assert web.options["memory"] == "200M"
    assert web.policy.max_oom_restarts == (5, 60.0)
    assert len(web.alarms) == 2
    assert web.stderr == "stdout"
    assert db.stdout.path == "/var/log/climits/db.log"
    assert report.autostart is False


def test_the_example_shows_most_of_it():
    content = tomllib.loads(example_file())
    shown = {key for _, table in leaves(content) if isinstance(table, dict) for key in table}
    assert len(shown & documented()) > 25


def test_each_default_in_the_reference_is_the_real_one():
    rows = re.findall(r"^\| `([a-z_]+)` \|.*\| ([^|]+) \|$", reference(), re.MULTILINE)
    told = dict(rows)
    for key, read in config_values.POLICY.items():
        default = getattr(Policy, key)
        if default is None:
            assert told[key].startswith("none"), key
        else:
            word = re.match(r"`([^`]*)`", told[key])[1]
            assert read(word, key) == default, key


def test_the_unit_file_is_one_that_systemd_reads_without_complaint(tmp_path):
    import shutil
    import subprocess

    text = (DOCS / "climits.service").read_text(encoding="utf-8")
    for line in (
        "Type=notify", "Delegate=yes", "ExecReload=/bin/kill -HUP $MAINPID", "KillMode=mixed",
    ):  # fmt: skip
        assert f"\n{line}\n" in text
    assert re.search(r"^WatchdogSec=\d+$", text, re.MULTILINE)
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "climits.service"
    unit.write_text(text.replace("/usr/bin/climits", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- values, each by itself ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", 1], "['a', 1]"), (True, "true"), ({}, "a table"), ("a\nb", r"'a\nb'"),
        ("x" * 80, "x" * 80), ("x" * 81, "x" * 77 + "..."),
        (2**64 - 1, "18446744073709551615"), (2**64, "an integer of 65 bits"),
    ],
)  # fmt: skip
def test_a_value_is_shown_on_one_line(value, text):
    assert config_values.shown(value) == text
    error = config_values.bad("a.b", value, "wrong", "mend it")
    assert (str(error), error.value, error.hint) == (f"a.b: {text}: wrong", value, "mend it")


def test_the_edges_of_values():
    assert config_values.budget("123456789/1m", "b") == (123456789, 60.0)
    for wrong, problem in (("1234567890/1m", "not a budget"), ("5/1/m", "1/m: not a duration")):
        with pytest.raises(InvalidValueError, match=problem):
            config_values.budget(wrong, "b")
    assert config_values.LOG_KEYS["max_size"](4096, "s") == 4096
    user = config_values.OPTIONS["user"]
    assert (user(0, "u"), user("0", "u"), user(2**32 - 2, "u")) == (0, 0, 2**32 - 2)
    with pytest.raises(InvalidValueError, match="u: true: not text"):
        user(True, "u")
    for wrong in (2**32 - 1, "4294967295", "10000000000"):
        with pytest.raises(InvalidValueError, match="no such user") as caught:
            user(wrong, "u")
        assert caught.value.value == wrong
    assert [config_values.OPTIONS["nice"](n, "n") for n in (-20, 19)] == [-20, 19]
    with pytest.raises(InvalidValueError, match="not a number"):
        config_values.OPTIONS["cpus"](True, "c")
    for wrong in (2**63, float("nan")):
        with pytest.raises(InvalidValueError, match=r"c: .*: out of range$"):
            config_values.OPTIONS["cpus"](wrong, "c")


@pytest.mark.parametrize("name", ["", "a=b", "a\0b"])
def test_the_name_of_a_variable(name):
    with pytest.raises(InvalidValueError, match="v: not a name for a variable") as caught:
        config_values.variable(name, "v")
    assert caught.value.value == name


@pytest.mark.parametrize(
    ("read", "value"), [(config_values.text, ""), (config_values.KEYS["command"], [])]
)
def test_what_is_empty_is_told_with_its_value(read, value):
    with pytest.raises(InvalidValueError, match="x: empty") as caught:
        read(value, "x")
    assert caught.value.value == value
