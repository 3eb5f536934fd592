import itertools
import os

import pytest

from climits.launch.plan import (
    AT_FDCWD,
    F_DUPFD_CLOEXEC,
    F_SETFD,
    LAST_FD,
    NamedFd,
    Plan,
    candidates,
)
from climits.launch.show import describe_step


def new_plan():
    return Plan([b"app"], [b"A=1"], [b"/bin/app"])


class Child:
    """What the steps of a plan do to a child's descriptors: {fd: [file, close-on-exec]}."""

    def __init__(self, fds):
        self.fds = {fd: [f"file{fd}", cloexec] for fd, cloexec in fds.items()}

    def run(self, plan):
        results = []
        for step in plan.steps:
            args = [results[a[0]] if isinstance(a, tuple) else a for a in step.args]
            results.append(getattr(self, step.call)(*args))
        return self

    def fcntl(self, fd, command, value):
        file, _ = self.fds[fd]
        if command == F_DUPFD_CLOEXEC:
            new = next(n for n in itertools.count(value) if n not in self.fds)
            self.fds[new] = [file, True]
            return new
        assert (command, value) == (F_SETFD, 0)
        self.fds[fd][1] = False
        return 0

    def dup3(self, old, new, flags):
        assert old != new and flags == 0  # EINVAL
        self.fds[new] = [self.fds[old][0], False]
        return new

    def close_range(self, first, last, flags):
        assert first <= last and flags == 0  # EINVAL
        for fd in [fd for fd in self.fds if first <= fd <= last]:
            del self.fds[fd]
        return 0

    def after_exec(self):
        return {fd: file for fd, (file, cloexec) in self.fds.items() if not cloexec}


# ---- standard input and output -------------------------------------------------------------


@pytest.mark.parametrize("stdin", [None, 0, 1, 2, 5, 6])
def test_stdio_is_what_was_asked_for(stdin):
    for stdio in itertools.product([stdin], [None, 0, 1, 2, 5, 6], [None, 0, 1, 2, 5, 6]):
        plan = new_plan()
        plan.stdio(*stdio)
        child = Child({0: False, 1: False, 2: False, 5: True, 6: True}).run(plan)
        expected = {n: f"file{n if fd is None else fd}" for n, fd in enumerate(stdio)}
        assert child.after_exec() == expected, stdio


@pytest.mark.parametrize("stdin", [None, 0, 1, 2, 7])
def test_stdio_and_then_the_rest_closed(stdin):
    for stdio in itertools.product([stdin], [None, 0, 1, 2, 7], [None, 0, 1, 2, 7]):
        plan = new_plan()
        plan.stdio(*stdio)
        plan.close_others([4])
        child = Child({0: False, 1: False, 2: False, 3: False, 4: True, 7: True, 9: False})
        child.run(plan)
        expected = {n: f"file{n if fd is None else fd}" for n, fd in enumerate(stdio)}
        assert child.after_exec() == {**expected, 4: "file4"}, stdio
        assert set(child.fds) == {0, 1, 2, 4}


@pytest.mark.parametrize(
    ("stdio", "steps"),
    [
        ((None, None, None), []),
        ((5, None, None), ["dup3(5, 0, 0)"]),
        ((0, None, None), [f"fcntl(0, {F_SETFD}, 0)"]),
        ((None, None, 1), [f"fcntl(1, {F_DUPFD_CLOEXEC}, 3)", "dup3($0, 2, 0)"]),
        (
            (1, 0, None),
            [
                f"fcntl(1, {F_DUPFD_CLOEXEC}, 3)",
                f"fcntl(0, {F_DUPFD_CLOEXEC}, 3)",
                "dup3($0, 0, 0)",
                "dup3($1, 1, 0)",
            ],
        ),
        ((None, 6, 6), ["dup3(6, 1, 0)", "dup3(6, 2, 0)"]),
    ],
)
def test_stdio_takes_no_step_too_many(stdio, steps):
    plan = new_plan()
    plan.stdio(*stdio)
    assert [describe_step(step) for step in plan.steps] == steps


# ---- closing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "ranges"),
    [
        ([], [(3, LAST_FD)]),
        ([3], [(4, LAST_FD)]),
        ([4], [(3, 3), (5, LAST_FD)]),
        ([3, 4, 5], [(6, LAST_FD)]),
        ([9, 5], [(3, 4), (6, 8), (10, LAST_FD)]),
        ([5, 5, 5], [(3, 4), (6, LAST_FD)]),
        ([0, 1, 2], [(3, LAST_FD)]),
        ([0, 1, 2, 7], [(3, 6), (8, LAST_FD)]),
        ([2], [(3, LAST_FD)]),
        ([1], [(3, LAST_FD)]),
        ([0, 7], [(3, 6), (8, LAST_FD)]),
        ([LAST_FD], [(3, LAST_FD - 1)]),
    ],
)
def test_close_others_closes_what_lies_between(keep, ranges):
    plan = new_plan()
    plan.close_others(keep)
    closes = [step for step in plan.steps if step.call == "close_range"]
    assert [step.args for step in closes] == [(first, last, 0) for first, last in ranges]
    kept = [step.args[0] for step in plan.steps if step.call == "fcntl"]
    assert set(kept) == set(keep)


def test_inherit_names_the_descriptor():
    plan = new_plan()
    plan.inherit([5, 6])
    assert [(describe_step(s), s.purpose) for s in plan.steps] == [
        (f"fcntl(5, {F_SETFD}, 0)", "pass descriptor 5 on"),
        (f"fcntl(6, {F_SETFD}, 0)", "pass descriptor 6 on"),
    ]


# ---- the other fragments -------------------------------------------------------------------


def test_a_write_is_three_steps_that_hand_the_descriptor_on():
    plan = new_plan()
    plan.call("setsid")
    plan.join_cgroup(NamedFd(7, "memory:/climits/web"), "tasks")
    opened, write, close = plan.steps[1:]
    assert opened.call == "openat" and opened.args == (7, b"tasks", os.O_WRONLY | os.O_CLOEXEC)
    assert write.call == "write" and write.args == ((1,), b"0", 1)
    assert close.call == "close" and close.args == ((1,),)
    assert {step.purpose for step in plan.steps[1:]} == {"join the cgroup"}


def test_call_returns_a_reference_to_its_result():
    plan = new_plan()
    assert [plan.call("getppid"), plan.call("setsid")] == [(0,), (1,)]
    assert plan.steps[1].purpose == "setsid"


def test_oom_score_adj_is_written_where_the_child_looks():
    plan = new_plan()
    plan.oom_score_adj(-17)
    assert plan.steps[0].args[:2] == (AT_FDCWD, b"/proc/self/oom_score_adj")
    assert plan.steps[1].args == ((0,), b"-17", 3)
    assert plan.steps[0].purpose == "set oom-score-adj -17"


@pytest.mark.parametrize(
    ("become", "steps"),
    [
        ((None, None, None), []),
        ((1000, None, None), [("setresuid", (1000, 1000, 1000), "become user 1000")]),
        ((None, 50, None), [("setresgid", (50, 50, 50), "become group 50")]),
        ((None, None, []), [("setgroups", (0, b""), "set the supplementary groups")]),
        (
            (1000, 50, [1, 256]),
            [
                ("setgroups", (2, b"\1\0\0\0\0\1\0\0"), "set the supplementary groups"),
                ("setresgid", (50, 50, 50), "become group 50"),
                ("setresuid", (1000, 1000, 1000), "become user 1000"),
            ],
        ),
        ((0, 0, None), [
            ("setresgid", (0, 0, 0), "become group 0"),
            ("setresuid", (0, 0, 0), "become user 0"),
        ]),
    ],
)  # fmt: skip
def test_the_right_to_change_groups_is_given_up_last(become, steps):
    plan = new_plan()
    plan.become(*become)
    assert [(s.call, s.args, s.purpose) for s in plan.steps] == steps


def test_die_with_parent_looks_whether_the_parent_is_still_there():
    plan = new_plan()
    plan.die_with_parent(4711)
    assert [describe_step(s) for s in plan.steps] == ["prctl(1, 9, 0, 0, 0)", "getppid() == 4711"]


def test_nice_and_chdir():
    plan = new_plan()
    plan.nice(-5)
    plan.chdir("/srv/\udcff")
    assert [(s.call, s.args) for s in plan.steps] == [
        ("setpriority", (0, 0, -5)),
        ("chdir", (b"/srv/\xff",)),
    ]
    assert plan.steps[1].purpose == "change to /srv/\udcff"


def test_a_nul_byte_in_a_directory_is_refused():
    with pytest.raises(ValueError):
        new_plan().chdir("/tmp\0/elsewhere")


# ---- reading it --------------------------------------------------------------------------


def test_a_named_descriptor_is_a_number_too():
    fd = NamedFd(5, "memory:/a")
    assert fd == 5 and fd + 1 == 6 and repr(fd) == "<memory:/a>"


def test_table_is_what_the_extension_takes():
    plan = new_plan()
    first = plan.call("openat", AT_FDCWD, b"/x", 0)
    plan.call("getppid", expect=7)
    plan.call("close", first)
    assert tuple(call[:3] for call in plan.calls) == (
        ("openat", (AT_FDCWD, b"/x", 0), None),
        ("getppid", (), 7),
        ("close", ((0,),), None),
    )


@pytest.mark.parametrize(
    ("command", "search", "files"),
    [
        ("/bin/app", "/usr/bin", [b"/bin/app"]),
        ("./app", "/usr/bin", [b"./app"]),
        ("sub/app", None, [b"sub/app"]),
        ("app", "/usr/bin:/bin", [b"/usr/bin/app", b"/bin/app"]),
        ("app", "/usr/bin::/bin", [b"/usr/bin/app", b"./app", b"/bin/app"]),
        ("app", "", [b"./app"]),
        ("app", "/a/", [b"/a/app"]),
        ("app", "/b:/a:/b:/a", [b"/b/app", b"/a/app"]),
        ("app", "relative", [b"relative/app"]),
        ("\udcff", "/a", [b"/a/\xff"]),
        ("app", None, [os.fsencode(d + "/app") for d in os.defpath.split(":")]),
    ],
)
def test_candidates(command, search, files):
    assert candidates(command, search) == files
