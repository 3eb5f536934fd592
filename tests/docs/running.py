"""Runs the commands of a page of the documentation, and holds what they print against the page.

A page is read from its beginning to its end, as its reader does it, in a folder of its own:

```python title="leak.py"    a block with a title is a file, which is written when it is reached
```console                   a block of commands and of what they print, in a terminal
$ climits version            a command, which the page's own shell (bash, on a terminal of 100
climits 0.1.0                columns) runs; a backslash or a here-document takes the next lines too
```

What a command prints has to stand below it, and nothing else; what varies may differ (see `alike`),
`...` stands for any text in a line and, alone on a line, for any number of lines. `^C` at the
beginning of a line presses Ctrl+C, once what stands above it has been printed. A block without a
`$ ` is the further output of a command that runs. Status 0 is expected, 130 too after Ctrl+C, 137
where the last line tells of an OOM kill, and any where `echo $?` comes next.

Comments above a block, which no reader sees, say the rest, with semicolons between:

    <!-- run: terminal 2 -->        the second terminal; the first one where nothing is said
    <!-- run: goes on -->           the last command need not end: it is waited for its output alone
    <!-- run: status 137 -->        that of the block's last command; "status any" for whatever
    <!-- run: until it fits -->     the last command is repeated until it prints this
    <!-- run: sees TEXT; types q --> the last command takes the screen: TEXT comes up, q is typed
    <!-- run: where systemd, user --> only there; see WHERE
    <!-- not run: REASON -->        the tests do not run this block

Blocks of python, toml, sh and console need a title, commands, or a reason not to be run.
"""

import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from typing import NamedTuple

from climits.cgroup.layout import current

SOURCES = ("python", "toml", "sh", "console")
FENCE = re.compile(r"^( *)(`{3,})([\w-]*)(.*)$")
COMMENT = re.compile(r"^ *<!-- (run|not run): (.*?) -->$")
TITLE = re.compile(r'title="([^"]+)"')
PROMPT = "$ "
HEREDOC = re.compile(r"<<-?\s*['\"]?([A-Za-z_]\w*)")

#: What a block may ask for, and whether it is so here.
WHERE = {
    "systemd": lambda: os.path.isdir("/run/systemd/system"),
    "no systemd": lambda: not os.path.isdir("/run/systemd/system"),
    "root": lambda: os.geteuid() == 0,
    "user": lambda: os.geteuid() != 0,
    "disk": lambda: _file_system() not in ("tmpfs", "overlayfs"),
    "v1": lambda: current().holding("memory").version_name == "v1",
    "v2": lambda: current().holding("memory").version_name == "v2",
}


def _file_system():
    """That of the folder in which pages are followed: a tmpfs has no page cache to drop."""
    words = ["stat", "--file-system", "--format=%T", tempfile.gettempdir()]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


class File(NamedTuple):
    """A file that the reader writes."""

    line: int
    name: str
    text: str


class Piece(NamedTuple):
    """Lines that are printed, and what is typed then."""

    lines: "list[str]"
    types: str = ""


class Command(NamedTuple):
    """A command and what it prints; without `text`, more of what one prints that runs already."""

    line: int
    text: str
    pieces: "list[Piece]"
    terminal: int = 1
    goes_on: bool = False
    status: str = ""
    until: bool = False
    sees: str = ""
    types: str = ""
    where: "tuple[str, ...]" = ()
    not_run: str = ""

    def missing(self) -> str:
        """What this machine lacks for it, or nothing."""
        return next((f"needs {name}" for name in self.where if not is_so(name)), "")


class PageError(Exception):
    """The page is not written as it has to be."""


def is_so(name: str) -> bool:
    """Whether this machine has what a block asks for."""
    kind, _, what = name.partition(" ")
    if kind == "module":
        return find_spec(what) is not None
    if kind == "command":
        return shutil.which(what) is not None
    return bool(WHERE[name]())


# -- reading a page --------------------------------------------------------------------------------


def read_page(text: str) -> "list[File | Command]":
    """Return what a page has its reader do, in order.

    Raises:
        PageError: a block that says neither what it is nor why it is not run.
    """
    steps: list[File | Command] = []
    lines = text.splitlines()
    options: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if comment := COMMENT.match(line):
            options |= read_options(comment[1], comment[2], at)
        elif fence := FENCE.match(line):
            indent, ticks, language, rest = fence.groups()
            start = at
            while lines[at].strip() != ticks:
                at += 1
            block = [text.removeprefix(indent) for text in lines[start:at]]
            at += 1
            steps += read_block(language, rest, block, start + 1, options)
            options = {}
        elif line.strip() and options:
            raise PageError(f"line {at}: the comment above it belongs before a block")
    return steps


def read_options(kind: str, text: str, line: int) -> "dict[str, str]":
    """Return what a comment says: names to texts."""
    if kind == "not run":
        return {"not run": text}
    names = ("terminal", "goes on", "status", "until it fits", "sees", "types", "where")
    found = {}
    for part in text.split("; "):
        name = next((n for n in names if part == n or part.startswith(f"{n} ")), None)
        if name is None:
            raise PageError(f"line {line}: {part!r} means nothing")
        found[name] = part.removeprefix(name).strip() or "yes"
    return found


def read_block(
    language: str, rest: str, block: "list[str]", line: int, options: "dict[str, str]"
) -> "list[File | Command]":
    """Return the steps of one block, whose first line is the page's `line`."""
    if "not run" in options:
        commands = [text for text in block if text.startswith(PROMPT)]
        return [
            Command(line, text, [], not_run=options["not run"]) for text in commands or block[:1]
        ]
    if title := TITLE.search(rest):
        return [File(line, title[1], "\n".join(block) + "\n")]
    if language == "console":
        return list(read_commands(block, line, options))
    if language in SOURCES:
        raise PageError(f'line {line}: say title="FILE", or <!-- not run: REASON --> above it')
    return []


def read_commands(block: "list[str]", line: int, options: "dict[str, str]") -> "list[Command]":
    """Return the commands of a console block."""
    heads: list[tuple[int, str, list[str]]] = []
    at = 0
    while at < len(block):
        start, text = at, block[at]
        at += 1
        if not text.startswith(PROMPT):
            if not heads:
                heads.append((line, "", []))
            heads[-1][2].append(text)
            continue
        text = text.removeprefix(PROMPT)
        ends = HEREDOC.search(text)
        while text.endswith("\\") or (ends and text.splitlines()[-1] != ends[1]):
            text += "\n" + block[at]
            at += 1
        heads.append((line + start, text, []))
    where = tuple(part.strip() for part in options.get("where", "").split(",") if part)
    common = {"terminal": int(options.get("terminal", 1)), "where": where}
    found = [Command(at, text, pieces(out), **common) for at, text, out in heads]
    for at in range(len(found) - 1):
        if found[at + 1].text == "echo $?":
            found[at] = found[at]._replace(status="any")
    last = found[-1]._replace(
        goes_on="goes on" in options,
        status=options.get("status", found[-1].status),
        until="until it fits" in options,
        sees=options.get("sees", ""),
        types=options.get("types", ""),
    )
    return [*found[:-1], last]


def pieces(lines: "list[str]") -> "list[Piece]":
    """Cut what is printed where Ctrl+C is pressed."""
    found = [Piece([])]
    for line in lines:
        if line.startswith("^C"):
            found[-1] = found[-1]._replace(types="\x03")
            found.append(Piece([]))
            line = line.removeprefix("^C")
            if not line:
                continue
        found[-1].lines.append(line)
    return found


# -- holding what is printed against the page ------------------------------------------------------

#: In the page's text: what may differ from what is printed.
VARIES = re.compile(
    r"(?P<any>\s*\.\.\.\s*)|(?P<gap>\s+)"
    r"|(?P<date>\d{4}-\d\d-\d\d)|(?P<time>\d\d:\d\d(:\d\d)?)"
    r"|(?P<size>\d+(\.\d+)? ?([KMGT](iB)?|bytes)\b)"
    r"|(?P<duration>(\d+[hm])?\d+(\.\d+)?(ms|s|m|h|d)\b)"
    r"|(?P<percent>\d+(\.\d+)? ?%)"
    r"|(?P<id>(?<=pid )\d+|(?<=\w-)\d+|\d{4,}\b)"
)
#: What may be printed there; "any" is tried at every length.
PATTERNS = {
    kind: re.compile(pattern)
    for kind, pattern in {
        "gap": r"\s+",
        "date": r"\d{4}-\d\d-\d\d",
        "time": r"\d\d:\d\d(:\d\d)?",
        "size": r"\d+(\.\d+)?( ?[KMGT](iB)?| bytes)?\b",
        "duration": r"(\d+[hm])?\d+(\.\d+)?(ms|s|m|h|d)\b",
        "percent": r"\d+(\.\d+)? ?%",
        "id": r"\d+",
    }.items()
}
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
MIB = 1 << 20


#: Of more than ten OOM kills in five seconds the kernel reports no more, and nobody knows names.
KILLED = re.compile(r"oom-killed: (pid \d+ \(.*?\)|a process of \S+)")


def alike(expected: str, printed: str) -> bool:
    """Whether a line was printed as the page has it.

    Any date, time, duration and id (a number of four digits or more, one after "pid " or a hyphen)
    is as good as another, and any gap between words. Sizes may differ by a quarter or 4 MiB, and
    percentages by 15.
    """
    if "oom-killed: a process of " in printed:
        expected, printed = (
            KILLED.sub("oom-killed: a process", text) for text in (expected, printed)
        )
    text, end, parts = expected.strip(), 0, []
    for varying in VARIES.finditer(text):
        parts += [("", text[end : varying.start()]), (varying.lastgroup, varying[0])]
        end = varying.end()
    return follows([*parts, ("", text[end:])], printed.strip(), 0)


def follows(parts: "list[tuple[str, str]]", printed: str, at: int) -> bool:
    """Whether what is printed from `at` on is these parts, (kind, text) each."""
    if not parts:
        return at == len(printed)
    (kind, text), *rest = parts
    if kind == "any":
        return any(follows(rest, printed, end) for end in range(at, len(printed) + 1))
    if not kind:
        return printed.startswith(text, at) and follows(rest, printed, at + len(text))
    found = PATTERNS[kind].match(printed, at)
    if found is None or (kind in ("size", "percent") and not near(kind, text, found[0])):
        return False
    return follows(rest, printed, found.end())


def near(kind: str, wanted: str, got: str) -> bool:
    """Whether two figures are near enough."""
    if kind == "percent":
        return abs(float(wanted.rstrip(" %")) - float(got.rstrip(" %"))) <= 15
    one, two = number(wanted), number(got)
    return abs(one - two) <= max(4 * MIB, max(one, two) / 4)


def number(text: str) -> float:
    """A size as bytes."""
    digits, unit = re.fullmatch(r"([\d.]+) ?(\w*)", text).groups()
    return float(digits) * (1 << UNITS.get(unit[:1], 0))


def fits(expected: "list[str]", printed: "list[str]", whole: bool = True) -> "int | None":
    """How many of the printed lines are those of the page, the fewest; None where they differ.

    With `whole` they have to be all lines. Lines that are `...` stand for any number of them.
    """
    ends = {0}  # after so many printed lines what was looked at so far may end
    for line in expected:
        if line.strip() == "...":
            ends = set(range(min(ends), len(printed) + 1))
        else:
            ends = {n + 1 for n in ends if n < len(printed) and alike(line, printed[n])}
        if not ends:
            return None
    if whole:
        return len(printed) if len(printed) in ends else None
    return min(ends)


#: What a terminal does: go to the line's beginning, up some lines, empty the line, or nothing seen.
CONTROL = re.compile(
    r"(?P<down>\n)|(?P<start>\r)|\x1b\[(?P<up>\d*)A|(?P<empty>\x1b\[2K)"
    r"|\x1b\[[0-9;?<=>]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>78]|[\a\x0f]"
)
JOBS = re.compile(r"\[\d+\][+-]?\s+(\d+$|Done|Exit|Running)")


def clean(text: str) -> "list[str]":
    """Lines as a terminal shows them in the end, without what the shell says of jobs."""
    lines, end = [""], 0
    for control in CONTROL.finditer(text + "\n"):
        if part := text[end : control.start()]:
            lines[-1] = lines[-1] + part if not lines[-1].endswith("\r") else part
        end = control.end()
        if control["down"]:
            lines[-1] = lines[-1].rstrip("\r ")
            lines.append("")
        elif control["start"]:
            lines[-1] = lines[-1].rstrip("\r") + "\r"
        elif control["empty"]:
            lines[-1] = ""
        elif control["up"] is not None:
            del lines[max(1, len(lines) - int(control["up"] or 1)) :]
    lines = [line for line in lines if not JOBS.match(line)]
    while lines and not lines[-1]:
        lines.pop()
    return lines
