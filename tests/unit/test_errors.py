import builtins
import copy
import errno
import pickle
import re
import subprocess

import pytest

import climits
from climits import errors
from climits.errors import ClimitsError, OutOfMemoryError
from climits.program import checks
from climits.records import Evidence, MemoryEvents, MemoryUsage, Result

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, ClimitsError)
}

RESULT = Result(
    command=["./app", "-x"],
    verdict="exited",
    returncode=3,
    exit_status=3,
    memory_max=60 * 1024**2,
    evidence=Evidence(usage=MemoryUsage(), events=MemoryEvents()),
    stdout=b"out",
    stderr=b"err",
)


def drawing():
    """(class, its parent, the builtin in parentheses or None), as the docstring draws them."""
    stack = ["ClimitsError"]
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([| ]*)\+-- (\w+) *(?:\((\w+)\))?", line)
        if match:
            depth = len(match[1]) // 4 + 1
            stack[depth:] = [match[2]]
            yield match[2], stack[depth - 1], match[3]


DRAWN = list(drawing())


def test_the_drawing_is_complete():
    assert {name for name, _, _ in DRAWN} | {"ClimitsError"} == CLASSES.keys()
    assert len(DRAWN) == len(CLASSES) - 1


@pytest.mark.parametrize(("name", "parent", "builtin"), DRAWN)
def test_each_class_stands_where_it_is_drawn(name, parent, builtin):
    bases = CLASSES[name].__bases__
    assert bases[0] is CLASSES[parent]
    assert bases[1:] == ((getattr(builtins, builtin),) if builtin else ())


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InvalidValueError", ValueError),
        ("UnsupportedError", NotImplementedError),
        ("CgroupError", OSError),
        ("CgroupGoneError", FileNotFoundError),
        ("CgroupExistsError", FileExistsError),
        ("CgroupPermissionError", PermissionError),
        ("CgroupTimeoutError", TimeoutError),
        ("LimitTooLowError", OSError),
        ("LaunchError", OSError),
        ("CommandNotFoundError", FileNotFoundError),
        ("CommandNotExecutableError", PermissionError),
        ("OutOfMemoryError", MemoryError),
    ],
)
def test_the_builtin_that_a_caller_would_catch_catches(name, builtin):
    with pytest.raises(builtin) as caught:
        raise CLASSES[name]("it failed", path="/x", errno=errno.EBUSY, hint="do that")
    assert isinstance(caught.value, ClimitsError)
    assert str(caught.value) == "it failed"


@pytest.mark.parametrize("name", CLASSES)
def test_the_attributes_are_what_was_given_or_none(name):
    bare = CLASSES[name]("it failed")
    assert (bare.path, bare.value, bare.errno, bare.hint) == (None,) * 4
    given = CLASSES[name]("it failed", path="/x", value=5, errno=16, hint="do that")
    assert (given.path, given.value, given.errno, given.hint) == ("/x", 5, 16, "do that")
    assert str(given) == given.text == "it failed"


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_everything_survives_pickling(name, again):
    error = CLASSES[name]("it: failed", path="/x", value=(1, "a"), errno=16, hint="do that")
    error.extra = "more"
    other = again(error)
    assert type(other) is type(error)
    assert str(other) == "it: failed"
    assert (other.path, other.value, other.errno, other.hint) == ("/x", (1, "a"), 16, "do that")
    assert other.extra == "more"


def test_out_of_memory_carries_the_result():
    assert OutOfMemoryError("it failed").result is None
    error = OutOfMemoryError("it failed")
    error.result = RESULT
    assert pickle.loads(pickle.dumps(error)).result == RESULT


@pytest.mark.parametrize("name", sorted(CLASSES.keys() | {"CalledProcessError", "TimeoutExpired"}))
def test_each_is_a_public_name(name):
    assert name in climits.__all__
    assert getattr(climits, name) is CLASSES.get(name, getattr(checks, name, None))


# ---- those of subprocess -------------------------------------------------------------------


@pytest.mark.parametrize("returncode", [1, 3, -9, -64, -200])
def test_called_process_error_is_that_of_subprocess(returncode):
    result = RESULT.replace(returncode=returncode)
    error = checks.CalledProcessError(result)
    theirs = subprocess.CalledProcessError(returncode, ["./app", "-x"], b"out", b"err")
    assert isinstance(error, subprocess.CalledProcessError) and isinstance(error, ClimitsError)
    assert str(error) == str(theirs)
    for name in ("returncode", "cmd", "output", "stdout", "stderr"):
        assert getattr(error, name) == getattr(theirs, name)
    assert error.result is result


@pytest.mark.parametrize("result", [None, RESULT])
def test_timeout_expired_is_that_of_subprocess(result):
    error = checks.TimeoutExpired(["./app", "-x"], 1.5, result)
    theirs = subprocess.TimeoutExpired(["./app", "-x"], 1.5)
    assert isinstance(error, subprocess.TimeoutExpired) and isinstance(error, ClimitsError)
    assert isinstance(error, TimeoutError) and isinstance(error, OSError)
    assert str(error) == str(theirs) == "Command '['./app', '-x']' timed out after 1.5 seconds"
    assert (error.cmd, error.timeout) == (["./app", "-x"], 1.5)
    assert (error.output, error.stderr) == ((b"out", b"err") if result else (None, None))
    assert error.stdout == error.output and error.result is result


@pytest.mark.parametrize(
    "error",
    [
        checks.CalledProcessError(RESULT),
        checks.TimeoutExpired(["./app"], 1.5),
        checks.TimeoutExpired(["./app"], 1.5, RESULT),
    ],
)
@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_those_of_subprocess_survive_pickling(error, again):
    error.hint = "do that"
    other = again(error)
    assert type(other) is type(error) and str(other) == str(error)
    assert other.__dict__ == error.__dict__


@pytest.mark.parametrize(
    "error",
    [
        checks.CalledProcessError(RESULT),
        checks.TimeoutExpired(["./app"], 1.5),
        checks.TimeoutExpired(["./app"], 1.5, RESULT),
    ],
)
def test_those_of_subprocess_keep_their_repr(error):
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (RESULT.replace(verdict="exited", returncode=0), None),
        (RESULT.replace(verdict="exited", returncode=0, oom_kill=1), None),
        (RESULT.replace(verdict="stopped", returncode=0), None),
        (RESULT, "CalledProcessError"),
        (RESULT.replace(verdict="signaled", returncode=-15), "CalledProcessError"),
        (RESULT.replace(verdict="stopped", returncode=-15), "CalledProcessError"),
        (RESULT.replace(verdict="timed-out", returncode=-15), "TimeoutExpired"),
        (RESULT.replace(verdict="timed-out", returncode=0), "TimeoutExpired"),
        (RESULT.replace(verdict="oom-killed", returncode=-9), "OutOfMemoryError"),
        (RESULT.replace(verdict="oom-killed", returncode=1), "OutOfMemoryError"),
    ],
)
def test_check_raises_what_the_verdict_calls_for(result, kind):
    if kind is None:
        checks.raise_for(result, 1.5)
        return
    with pytest.raises(getattr(climits, kind)) as caught:
        checks.raise_for(result, 1.5)
    assert type(caught.value).__name__ == kind
    assert caught.value.result is result


def test_the_text_of_an_oom_kill():
    with pytest.raises(MemoryError) as caught:
        checks.raise_for(RESULT.replace(verdict="oom-killed", returncode=-9), None)
    assert str(caught.value) == "./app was OOM-killed at its limit of 60.0M"
    assert (caught.value.path, caught.value.value) == ("./app", 60 * 1024**2)
    assert caught.value.hint == "give it more memory"
