import inspect
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.cli import main, options, run
from climits.cli.help import parser
from climits.cli.options import (
    ALARMS,
    CGROUP,
    CONTAINER,
    LIFE,
    LIMITS,
    RESTART,
    RUN,
    TELLING,
    HelpRequested,
    parse,
)  # fmt: skip
from climits.errors import InvalidValueError
from climits.program.spec import Spec

TABLES = {
    name: import_module(f"climits.cli.{module}").OPTIONS
    for name, (module, _) in main.COMMANDS.items()
}
ALL = [(name, option) for name, table in TABLES.items() for option in table]


# ---- the table -----------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "option"), ALL)
def test_each_option_is_well_formed(command, option):
    flag, metavar, kind, group, text = option
    assert flag.startswith("--") and flag == flag.lower() and "_" not in flag
    assert kind in ("text", "int", "float", "list", "switch")
    assert (metavar is None) == (kind == "switch")
    assert metavar is None or metavar == metavar.upper()
    assert group in (LIMITS, LIFE, TELLING, RESTART, ALARMS, CGROUP, CONTAINER)
    assert text and text == text.strip() and not text.endswith(".")
    assert text % () == text.replace("%%", "%")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_no_flag_is_there_twice(table):
    flags = [option[0] for option in table]
    assert len(flags) == len(set(flags))


def test_each_command_has_what_main_wants_of_it():
    assert run.OPTIONS is RUN
    for _, summary in main.COMMANDS.values():
        assert summary and summary[0].islower() and not summary.endswith(".")


def test_each_option_of_run_is_made_use_of():
    names = {option[0][2:].replace("-", "_") for option in RUN}
    own = {
        "timeout", "kill_after", "chdir", "env", "clear_env", "json", "json_fd", "quiet", "explain",
        "verbose", "no_history", "record", "slice", "unit", "no_systemd",
    }  # fmt: skip
    assert names | {"extra_groups"} == set(run._SPEC) | own  # those of a bundle
    assert set(run._SPEC) <= inspect.signature(Spec).parameters.keys()


# ---- parsing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "values", "words"),
    [
        ([], {}, []),
        (["app"], {}, ["app"]),
        (["app", "--memory", "5"], {}, ["app", "--memory", "5"]),
        (["app", "--", "-h"], {}, ["app", "--", "-h"]),
        (["--"], {}, []),
        (["--", "app"], {}, ["app"]),
        (["--", "--memory", "x"], {}, ["--memory", "x"]),
        (["--", "--", "x"], {}, ["--", "x"]),
        (["-", "x"], {}, ["-", "x"]),
        (["", "x"], {}, ["", "x"]),
        (["--memory", "60M", "app"], {"memory": "60M"}, ["app"]),
        (["--memory=60M", "--", "app"], {"memory": "60M"}, ["app"]),
        (["--memory=", "app"], {"memory": ""}, ["app"]),
        (["--memory", "--quiet"], {"memory": "--quiet"}, []),
        (["--memory", "--", "app"], {"memory": "--"}, ["app"]),
        (["--name=a=b"], {"name": "a=b"}, []),
        (["--kill-after", "1s"], {"kill_after": "1s"}, []),
        (["--pids", "5"], {"pids": 5}, []),
        (["--pids=-5"], {"pids": -5}, []),
        (["--nice", "-5", "app"], {"nice": -5}, ["app"]),
        (["--cpus", "1.5"], {"cpus": 1.5}, []),
        (["--cpus", "2"], {"cpus": 2.0}, []),
        (["--quiet", "--quiet", "app"], {"quiet": True}, ["app"]),
        (["--env", "A=1", "--env=B=2=3"], {"env": ["A=1", "B=2=3"]}, []),
        (["--env", "A=1", "app", "--env", "B=2"], {"env": ["A=1"]}, ["app", "--env", "B=2"]),
    ],
)
def test_parse(argv, values, words):
    assert parse(RUN, argv) == (values, words)


@pytest.mark.parametrize(
    ("argv", "values", "words"),
    [
        (["web", "--quiet"], {"quiet": True}, ["web"]),
        (["--pids", "5", "a", "--quiet", "b"], {"pids": 5, "quiet": True}, ["a", "b"]),
        (["a", "--", "--quiet", "b"], {}, ["a", "--quiet", "b"]),
        (["a", "--pids=5", "--", "b", "--"], {"pids": 5}, ["a", "b", "--"]),
        (["-", "--env", "A=1", "x", "--env=B=2"], {"env": ["A=1", "B=2"]}, ["-", "x"]),
    ],
)
def test_parse_anywhere(argv, values, words):
    assert parse(RUN, argv, anywhere=True) == (values, words)


@pytest.mark.parametrize(
    ("argv", "text", "hint"),
    [
        (["--memry", "5"], "unknown option --memry", "did you mean --memory?"),
        (["--memry=5"], "unknown option --memry", "did you mean --memory?"),
        (["--cpu", "1"], "unknown option --cpu", "did you mean --cpus?"),
        (["--Memory", "1"], "unknown option --Memory", "did you mean --memory?"),
        (["--xyzzy"], "unknown option --xyzzy", "see --help; the command goes after --"),
        (["-m", "5"], "unknown option -m", "see --help; the command goes after --"),
        (["--quiet", "-x"], "unknown option -x", "see --help; the command goes after --"),
        (["---"], "unknown option ---", "see --help; the command goes after --"),
        (["--memory"], "--memory needs a value", "see --help"),
        (["--env"], "--env needs a value", "see --help"),
        (["--quiet=yes"], "--quiet takes no value", None),
        (["--quiet="], "--quiet takes no value", None),
        (["--memory", "1", "--memory", "2"], "--memory is given twice", None),
        (["--memory=1", "--memory=1"], "--memory is given twice", None),
        (["--pids", "many"], "pids: many: not a whole number", "write it like --pids 10"),
        (["--pids", "1.5"], "pids: 1.5: not a whole number", "write it like --pids 10"),
        (["--pids="], "pids: empty: not a whole number", "write it like --pids 10"),
        (["--cpus", "two"], "cpus: two: not a number", "write it like --cpus 1.5"),
        (
            ["--oom-score-adj", "x"],
            "oom-score-adj: x: not a whole number",
            "write it like --oom-score-adj 10",
        ),
    ],
)
def test_what_cannot_be_parsed_is_refused(argv, text, hint):
    with pytest.raises(InvalidValueError) as caught:
        parse(RUN, [*argv, "app"] if "needs" not in text else argv)
    assert (str(caught.value), caught.value.hint) == (text, hint)


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["--memory", "5", "-h", "x"]])
def test_help_is_asked_for(argv):
    with pytest.raises(HelpRequested):
        parse(RUN, argv)


@pytest.mark.parametrize("argv", [["app", "-h"], ["--", "--help"], ["--name", "-h"]])
def test_help_of_the_command_is_the_commands(argv):
    parse(RUN, argv)


@given(st.lists(st.one_of(st.text(), st.sampled_from([option[0] for option in RUN]))))
def test_any_words_are_read_or_refused(argv):
    try:
        values, words = parse(RUN, argv)
    except (InvalidValueError, HelpRequested):
        return
    assert words == argv[len(argv) - len(words) :]
    assert values.keys() <= {option[0][2:].replace("-", "_") for option in RUN}


@given(st.lists(st.text()))
def test_what_follows_two_dashes_is_never_touched(words):
    assert parse(RUN, ["--quiet", "--", *words]) == ({"quiet": True}, words)


# ---- help ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_help_names_every_option(name):
    module = import_module(f"climits.cli.{main.COMMANDS[name][0]}")
    text = parser(
        name, main.COMMANDS[name][1], module.USAGE, module.OPTIONS, module.EPILOG
    ).format_help()
    assert text.startswith(f"usage: {module.USAGE}")
    assert module.EPILOG in text
    flat = " ".join(text.split())
    for flag, metavar, _, _, help_text in TABLES[name]:
        assert f"{flag} {metavar or ''}".strip() in flat
        assert help_text[:12] in flat


@pytest.mark.parametrize("name", TABLES)
def test_the_lines_of_help_fit_a_terminal(name, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "80")
    assert main.dispatch([name, "--help"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and all(len(line) <= 100 for line in out.splitlines())
    assert main.dispatch(["help", name]) == 0
    assert capfd.readouterr().out == out


def test_argparse_and_the_small_loop_read_alike():
    built = parser("run", "", "", RUN, "")
    argv = ["--memory", "60M", "--pids=5", "--quiet", "--kill-after", "1s"]
    theirs = {k: v for k, v in vars(built.parse_args(argv)).items() if v not in (None, False)}
    ours, words = parse(RUN, argv)
    assert words == [] and {k: str(v) for k, v in ours.items()} == {
        k: str(v) for k, v in theirs.items()
    }


# ---- the command itself --------------------------------------------------------------------


def test_without_a_command_the_usage_is_shown(capfd):
    assert main.dispatch([]) == 125
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("usage: climits COMMAND")
    for argv in (["-h"], ["--help"], ["help"]):
        assert main.dispatch(argv) == 0
        assert capfd.readouterr().out == err
    assert all(name in err and text in err for name, (_, text) in main.COMMANDS.items())


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_version(argv, capfd):
    import climits

    assert main.dispatch(argv) == 0
    assert capfd.readouterr().out == f"climits {climits.__version__}\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rnu", "did you mean run?"),
        ("frobnicate", "see climits --help"),
        ("", "see climits --help"),
    ],
)
def test_an_unknown_command(name, hint):
    with pytest.raises(InvalidValueError) as caught:
        main.dispatch([name])
    assert str(caught.value) == f"no command {name!r}" and caught.value.hint == hint


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidValueError("it failed", hint="do that"), "climits: it failed; hint: do that\n"),
        (InvalidValueError("it failed"), "climits: it failed\n"),
        (InvalidValueError("it\nfailed"), "climits: it failed\n"),
    ],
)
def test_an_error_is_told_in_one_line(error, text, capfd):
    main.complain(error)
    assert capfd.readouterr() == ("", text)


def test_help_requested_is_no_error_of_climits():
    from climits.errors import ClimitsError

    assert not issubclass(options.HelpRequested, ClimitsError)
