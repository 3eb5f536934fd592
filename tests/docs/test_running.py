"""What lets a page pass, and what does not: a page that tells something untrue has to fail."""

import os

import pytest
from running import Command, File, PageError, alike, clean, fits, read_page
from terminal import DiffersError, Terminal

PAGE = r"""
```python title="a/leak.py"
print(1)
```

<!-- run: terminal 2; status 3; where root, command sh -->
```console
$ echo one \
    two
one two
$ cat <<'EOF'
three
EOF
three
^C...
over
```

```text
nothing to do
```

<!-- not run: no network -->
```console
$ pip install climits
```
"""


def test_a_page_is_read_as_its_reader_does_it():
    file, echo, cat, pip = read_page(PAGE)
    assert file == File(3, "a/leak.py", "print(1)\n")
    assert (echo.line, echo.text, echo.terminal) == (8, "echo one \\\n    two", 2)
    assert (echo.status, echo.where) == ("", ("root", "command sh"))
    assert (cat.text, cat.status) == ("cat <<'EOF'\nthree\nEOF", "3")
    assert [(piece.lines, piece.types) for piece in cat.pieces] == [
        (["three"], "\x03"),
        (["...", "over"], ""),
    ]
    assert (pip.text, pip.not_run) == ("$ pip install climits", "no network")


def test_any_status_is_right_where_the_page_asks_for_it():
    false, echo = read_page("```console\n$ false\n$ echo $?\n1\n```\n")
    assert (false.status, echo.status) == ("any", "")


@pytest.mark.parametrize(
    "page",
    [
        "```python\nprint(1)\n```\n",
        "```sh\nls\n```\n",
        "<!-- run: teminal 2 -->\n```console\n$ ls\n```\n",
        "<!-- run: status 1 -->\n\nText.\n\n```console\n$ ls\n```\n",
    ],
)
def test_a_block_that_says_nothing_is_refused(page):
    with pytest.raises(PageError):
        read_page(page)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (
            "climits: oom-killed: pid 4927 (tail) at 60.0M of 60.0M, peak 60.0M, 1.6s",
            "climits: oom-killed: pid 31 (tail) at 60.0M of 60.0M, peak 60.0M, 12ms",
        ),
        (
            "climits: oom-killed: pid 4927 (tail) at 60.0M of 60.0M",
            "climits: oom-killed: a process of sh at 60.0M of 60.0M",
        ),
        ("2026-11-22 10:15:01  run  x", "2027-01-01 23:59:59 run      x"),
        ("in cgroup /climits/python3-4920-1, ...", "in cgroup /climits/python3-7-12, limit 60.0M"),
        ("box  4927  ...   50.0M  ...", "box  27043  container  992.0K  50.0M  20.0s  sleep 12"),
        ("holding 41.7M", "holding 45.2M"),
        ("at 80 %", "at 91 %"),
    ],
)
def test_what_varies_may_differ(expected, printed):
    assert alike(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("climits: exited 0: peak 1.0M of 60.0M, 1s", "climits: exited 1: peak 1.0M of 60.0M, 1s"),
        ("oom-killed: pid 4927 (tail) at", "oom-killed: pid 4927 (sh) at"),
        ("peak 60.0M", "peak 90.0M"),
        ("peak 60.0M", "peak 60.0G"),
        ("peak 60.0M", "peak none"),
        ("at 80 %", "at 40 %"),
        ("2 jobs: 2 succeeded", "2 jobs: 1 succeeded"),
        ("pid 4927", "pid x"),
        ("a", "a b"),
        ("a ... c", "a b"),
    ],
)
def test_what_is_wrong_is_seen(expected, printed):
    assert not alike(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed", "whole", "prefix"),
    [
        (["a", "b"], ["a", "b"], 2, 2),
        (["a"], ["a", "b"], None, 1),
        (["a", "..."], ["a", "b", "c"], 3, 1),
        (["...", "c"], ["a", "b", "c", "c"], 4, 3),
        (["a", "b"], ["a"], None, None),
        (["b"], ["a", "b"], None, None),
        ([], [], 0, 0),
        ([], ["a"], None, 0),
    ],
)
def test_lines(expected, printed, whole, prefix):
    assert fits(expected, printed) == whole
    assert fits(expected, printed, whole=False) == prefix


def test_what_a_terminal_shows_in_the_end():
    text = "\x1b[1mone\x1b[0m\n\r\x1b[2K0/2\n\x1b[1A\x1b[2K1/2\r\x1b[2Kdone\r\n"
    assert clean(f"{text}[1]+  Done   sleep 1\nold\rnew\n\n") == ["one", "done", "new"]


@pytest.fixture
def terminal(tmp_path):
    terminal = Terminal(tmp_path, {"PATH": os.environ["PATH"], "TERM": "dumb"}, [])
    yield terminal
    terminal.close()


def run(terminal, page):
    for command in read_page(page):
        terminal.run(command)


def test_commands_are_run(terminal):
    run(terminal, "```console\n$ x=1\n$ echo $x; (exit 3)\n1\n$ echo $?\n3\n```\n")


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("```console\n$ echo two\none\n```\n", "something else"),
        ("```console\n$ echo one\n```\n", "something else"),
        ("```console\n$ true\none\n```\n", "something else"),
        ("```console\n$ false\n```\n", "status 1, not 0"),
        ("<!-- run: status 2 -->\n```console\n$ false\n```\n", "status 1, not 2"),
    ],
)
def test_a_page_that_is_not_true_fails(terminal, page, why):
    with pytest.raises(DiffersError, match=why):
        run(terminal, page)


def test_control_c_is_pressed_on_a_command_that_goes_on(terminal):
    goes_on = "<!-- run: goes on -->\n```console\n$ echo ready; sleep 1000\nready\n```\n"
    run(terminal, goes_on)
    assert terminal.busy
    run(terminal, "```console\n^C\n```\n")
    assert (terminal.status(), terminal.busy) == ("130", False)


def test_a_second_command_does_not_disturb_one_that_runs(terminal):
    run(terminal, "<!-- run: goes on -->\n```console\n$ sleep 1000\n```\n")
    with pytest.raises(AssertionError, match="a command runs"):
        terminal.run(Command(1, "true", []))
