import os

import pytest

from climits.launch.plan import NamedFd, Plan, Step
from climits.launch.show import describe, describe_step


def new_plan():
    return Plan([b"app"], [b"A=1"], [b"/bin/app"])


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step("setsid", (), "x", None), "setsid()"),
        (Step("chdir", (b'a"b',), "x", None), 'chdir("a\\"b")'),
        (Step("getppid", (), "x", 7), "getppid() == 7"),
        (Step("getppid", (), "x", 0), "getppid() == 0"),
        (Step("close", ((3,),), "x", None), "close($3)"),
        (Step("chdir", (b"/a\nb",), "x", None), 'chdir("/a\\nb")'),
        (Step("prctl", (1, None), "x", None), "prctl(1, NULL)"),
        (
            Step("openat", (NamedFd(5, "memory:/a"), b"t", 1), "x", None),
            'openat(<memory:/a>, "t", 1)',
        ),
    ],
)
def test_a_step_can_be_printed(step, text):
    assert describe_step(step) == text


def test_describe_prints_the_clone_the_steps_and_each_candidate():
    plan = Plan([b"app", b"-x"], [b"A=1", b"B=2"], [b"/usr/bin/app", b"/bin/app"])
    plan.call("setsid")
    plan.join_cgroup(NamedFd(-1, "memory:/climits/web"), "tasks")
    plan.nice(1)
    flags = os.O_WRONLY | os.O_CLOEXEC
    assert describe(plan) == [
        "clone(CLONE_VM|CLONE_VFORK|CLONE_PIDFD)",
        "$0 setsid()",
        f'$1 openat(<memory:/climits/web>, "tasks", {flags})',
        '$2 write($1, "0", 1)',
        "$3 close($1)",
        "$4 setpriority(0, 0, 1)",
        'execve("/usr/bin/app", ["app", "-x"], 2 variables)',
        'execve("/bin/app", ["app", "-x"], 2 variables)',
    ]


def test_describe_says_which_cgroup_the_child_is_born_in():
    plan = new_plan()
    plan.cgroup = NamedFd(9, "unified:/climits/web")
    assert describe(plan)[0] == (
        "clone3(CLONE_VM|CLONE_VFORK|CLONE_PIDFD|CLONE_INTO_CGROUP, cgroup=<unified:/climits/web>)"
    )
    assert len(describe(plan)) == 2


def test_describe_keeps_the_steps_in_line():
    plan = new_plan()
    for _ in range(11):
        plan.call("setsid")
    assert describe(plan)[1] == "$0  setsid()" and describe(plan)[11] == "$10 setsid()"


@pytest.mark.parametrize(
    "compose",
    [
        lambda plan: plan.become(None, None, [1, 2]),
        lambda plan: plan.chdir("/a\tb"),
        lambda plan: setattr(plan, "argv", (b"app", b"\x1b[31m")),
        lambda plan: setattr(plan, "paths", (b"/bin/\xff",)),
    ],
)
def test_what_is_printed_is_printable(compose):
    plan = new_plan()
    compose(plan)
    assert all(line.isprintable() for line in describe(plan))
