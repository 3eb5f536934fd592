"""Command lines of the drop-in tools."""

import pytest

from climits.cli.cgtools import args
from climits.cli.cgtools.status import MINUS_ONE, USAGE, GiveUp
from climits.errors import InvalidValueError

LONG = {"variable": "r:", "help": "h", "all": "a", "values-only": "v"}


def getopt(*words, shorts="r:hnvg:a", longs=LONG):
    return args.getopt("cgget", shorts, longs, list(words))


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        ([], [], []),
        (["a", "b"], [], ["a", "b"]),
        (["-n", "a", "-v", "b"], [("n", ""), ("v", "")], ["a", "b"]),  # behind words too
        (["-nv", "a"], [("n", ""), ("v", "")], ["a"]),
        (["-nr", "x", "a"], [("n", ""), ("r", "x")], ["a"]),
        (["-rx", "a"], [("r", "x")], ["a"]),
        (["-r", "-n", "a"], [("r", "-n")], ["a"]),
        (["--", "-n"], [], ["-n"]),
        (["a", "--", "-n", "b"], [], ["a", "-n", "b"]),
        (["-", "a"], [], ["-", "a"]),
        (["--variable=x=y"], [("r", "x=y")], []),
        (["--variable", "x"], [("r", "x")], []),
        (["--var", "x"], [("r", "x")], []),  # cut short
        (["--he"], [("h", "")], []),
        (["--values-only"], [("v", "")], []),
    ],
)
def test_options_are_read_as_getopt_long_does(words, options, rest):
    assert getopt(*words) == (options, rest)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["-x"], "invalid option -- 'x'"),
        (["-n:"], "invalid option -- ':'"),
        (["-r"], "option requires an argument -- 'r'"),
        (["--variable"], "option '--variable' requires an argument"),
        (["--nonsense"], "unrecognized option '--nonsense'"),
        (["--all=3"], "option '--all' doesn't allow an argument"),
        (["--va", "x"], "option '--va' is ambiguous; possibilities: '--variable' '--values-only'"),
    ],
)
def test_usage_errors(words, cause):
    with pytest.raises(GiveUp) as caught:
        getopt(*words)
    assert caught.value.status == USAGE == 129
    assert caught.value.lines == [
        f"cgget: {cause}",
        "Wrong input parameters, try 'cgget -h'",
    ]


def test_the_first_word_may_end_the_options():
    assert args.getopt("cgexec", "+g:h", {}, ["-g", "a:b", "ls", "-h"]) == (
        [("g", "a:b")], ["ls", "-h"],
    )  # fmt: skip


def test_the_environment_can_ask_for_that_too(monkeypatch):
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert getopt("a", "-n") == ([], ["a", "-n"])


@pytest.mark.parametrize(
    ("text", "controllers", "path"),
    [
        ("memory:/a", ("memory",), "/a"),
        ("memory,cpu:a/b", ("memory", "cpu"), "a/b"),
        ("*:/a", ("*",), "/a"),
        (":/a", (), "/a"),
        (":a", (), "a"),
        ("memory:a:b", ("memory",), "a"),
        ("name=x:/a", ("name=x",), "/a"),
        ("memory,,cpu:/a", ("memory", "cpu"), "/a"),
    ],
)
def test_specs(text, controllers, path):
    spec = args.read_spec(text)
    assert (spec.controllers, spec.path) == (controllers, path)


@pytest.mark.parametrize("text", ["", "memory", "memory:", ":", ",:/a", "memory::b"])
def test_no_specs(text):
    assert args.read_spec(text) is None


def test_owners():
    assert args.read_owner("t", "root:root") == (0, 0)
    assert args.read_owner("t", "root") == (0, -1)
    assert args.read_owner("t", ":root") == (-1, 0)
    assert args.read_owner("t", "4711:4712") == (4711, 4712)
    assert args.read_owner("t", "") == (-1, -1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nosuchuser:root", "t: can't find uid of user nosuchuser."),
        (":nosuchgroup", "t: can't find gid of group nosuchgroup."),
        ("-1", "t: can't find uid of user -1."),
    ],
)
def test_unknown_owners_are_errors(text, line):
    with pytest.raises(GiveUp) as caught:
        args.read_owner("t", text)
    assert (caught.value.status, caught.value.lines) == (MINUS_ONE, [line])


def test_modes():
    assert args.read_mode("t", "775") == 0o775
    assert args.read_mode("t", "0644") == 0o644
    for text in ("77", "77777", "888", "-77", "abc", ""):
        with pytest.raises(InvalidValueError):
            args.read_mode("t", text)
