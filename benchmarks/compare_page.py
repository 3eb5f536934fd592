"""The made parts of docs/comparison.md: tables of what was tried and what is cited.

    <!-- made from results: NAME -->
    <!-- end -->

A cell that was tried is upright, one that is cited in italics; below the tables stands for each of
them what was seen, or where it is written.
"""

import json
import os
import re
import tomllib

import reporting

_HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(_HERE, "../docs/comparison.md")
_CITED = os.path.join(_HERE, "compare_cited.toml")
_OUTCOMES = os.path.join(_HERE, "results", "pool_outcomes.json")
_MADE = re.compile(r"(<!-- made from results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

#: name of the column: (where it was tried, its name there); None: it could not be.
COMMANDS = {
    "climits": ("here", "climits"), "systemd-run": ("v2, systemd", "systemd-run --wait"),
    "cgroup-tools": ("here", "cgroup-tools"), "runexec": ("here", "runexec"), "isolate": None,
    "runc": ("here", "runc"), "docker": ("here", "docker"), "bubblewrap": ("here", "bubblewrap"),
}  # fmt: skip
COMMAND_ROWS = {
    "limit": "a leak ends at the limit",
    "inside": "the program runs in its limit from the start",
    "verdict": "an OOM kill is told from another SIGKILL",
    "child": "so is that of a child, when the program exits 0",
    "which": "the killed process is named",
    "peak": "peak memory is told",
    "cache": "page cache counts",
    "swap": "swap is bounded without asking",
    "status": "the exit status is the program's",
    "killed": "`kill -9` of the tool ends the program",
    "change": "the limit of a running program can be changed",
    "pause": "it can be stopped and go on",
    "warn": "somebody is told before the limit",
    "hold": "at the limit it can wait instead of being killed",
    "restart": "it is started again after an OOM kill",
    "batch": "many jobs, as many at once as memory holds",
    "suggest": "a limit is suggested from past runs",
    "live": "a live view",
    "cpu": "CPU time and cores can be limited",
    "cage": "namespaces of its own",
    "image": "images can be fetched and built",
    "daemon": "it works without a daemon",
    "user": "it works for an ordinary user",
    "layouts": "it works on cgroup v1, hybrid and v2",
}
KEEPERS = ("climits supervise", "supervisord", "circus", "pebble (Canonical)")
KEEPER_ROWS = {
    "own_limit": "a limit of the kernel's for each program",
    "again": "it starts a program again after an OOM kill",
    "cause": "it says that memory was the cause",
    "backoff": "delays grow from restart to restart",
    "alarms": "it tells before the limit",
    "guarded": "`kill -9` of it ends its programs",
    "idle": "it does not wake up when nothing happens",
    "order": "programs are started in an order",
    "logs": "their output is kept or sent on",
    "health": "it asks a program whether it is well",
    "sockets": "it holds sockets for them",
    "web": "a web page or API",
    "platforms": "beyond Linux",
}
#: name of the column: (that of pool_outcomes.py, that of the citations).
POOLS = {
    "climits": ("climits.ProcessPoolExecutor", "climits pool"),
    "concurrent.futures": ("concurrent.futures", "concurrent.futures"),
    "multiprocessing": ("multiprocessing.Pool", "multiprocessing.Pool"),
    "pebble": ("pebble", "pebble"), "loky": ("loky", "loky"),
    "dask": ("the same, memory_limit", "dask"),
}  # fmt: skip
POOL_ROWS = {
    "kernel": "a limit for each worker",
    "cause": "the task's error says that memory ran out",
    "others": "all other tasks keep their results",
    "after": "the pool goes on",
    "timeout": "a task that runs too long is ended",
    "lambdas": "lambdas and closures",
    "machines": "many machines",
    "platforms": "beyond Linux",
}


class Cell:
    """An answer; where it comes from; was it tried?"""

    def __init__(self, answer, source, tried):
        self.answer, self.source, self.tried = answer, source, tried

    def __str__(self):
        return self.answer if self.tried or self.answer == "-" else f"*{self.answer}*"


_UNKNOWN = Cell("?", "", True)


def cited():
    with open(_CITED, "rb") as file:
        found = tomllib.load(file)
    return {
        peer: {row: Cell(answer, source, False) for row, (answer, source) in rows.items()}
        for peer, rows in found.items()
    }


# ---- the cells ---------------------------------------------------------------------------------


def tried_cells(found, where):
    return {
        row: Cell(cell["answer"], f"{where}: {cell['seen']}", True)
        for row, cell in found.get("cells", {}).items()
    }


def commands(kept):
    """column: row: Cell, and column: version."""
    cells, versions, quotes = {}, {"isolate": "2.3 (cited)"}, cited()
    for column, place in COMMANDS.items():
        cells[column] = dict(quotes.get(column, {}))
        if place is None:
            continue
        run, name = place
        found = kept["runs"].get(run, {}).get("peers", {}).get(name, {})
        versions[column] = found.get("version", "not tried")
        cells[column].update(tried_cells(found, kept["runs"].get(run, {}).get("where", "")))
        cells[column].update(everywhere(kept, name))
    again = keepers(kept)[0]["climits supervise"].get("cause")
    if again:
        cells["climits"]["restart"] = Cell(again.answer, again.source, True)
    return cells, versions


def everywhere(kept, name):
    """The rows on layouts and users: from the same trial on several machines."""
    found, out = {}, {}
    for run, what in (("here", "hybrid"), ("v1, systemd", "v1"), ("v2, systemd", "v2")):
        peer = kept["runs"].get(run, {}).get("peers", {}).get(name, {})
        if "limit" in peer.get("cells", {}):
            found[what] = peer["cells"]["limit"]["answer"], peer["cells"]["limit"]["seen"]
        elif "limit" in peer.get("not_run", {}):
            found[what] = "no", peer["not_run"]["limit"]
    if name != "bubblewrap" and len(found) > 1:
        good = [what for what, (answer, _) in found.items() if answer == "yes"]
        answer = "yes" if len(good) == len(found) else "partly" if good else "no"
        seen = "; ".join(f"{what}: {a}" + ("" if a == "yes" else f" ({s})")
                         for what, (a, s) in found.items())  # fmt: skip
        out["layouts"] = Cell(answer, f"the limit holds on {seen}", True)
    peer = kept["runs"].get("v2, systemd, ordinary user", {}).get("peers", {}).get(name, {})
    if name != "bubblewrap" and peer:
        cell = peer.get("cells", {}).get("limit")
        reason = peer.get("not_run", {}).get("limit") or peer.get("not_here")
        good = bool(cell) and cell["answer"] == "yes"
        out["user"] = Cell(
            "yes" if good else "no", f"v2 with systemd: {cell['seen'] if cell else reason}", True
        )
    return out


def keepers(kept):
    cells, quotes = {}, cited()
    run = kept["runs"].get("here", {"keepers": {}, "where": ""})
    versions = {"pebble (Canonical)": "1.x (cited)"}
    for column in KEEPERS:
        found = run["keepers"].get(column, {})
        cells[column] = {**quotes.get(column, {}), **tried_cells(found, run["where"])}
        cause = cells[column].get("cause")
        if cause and cause.tried:
            again = "yes" if "started again: yes" in cause.source else "no"
            cells[column]["again"] = Cell(again, cause.source, True)
        if "polled" in cells[column]:
            polled, own = cells[column].pop("polled"), cells[column]["own_limit"]
            cells[column]["own_limit"] = Cell(
                "no", f"{own.source}; its add-on: {polled.source.partition('polled: ')[2]}", True
            )
        if found:
            versions[column] = found["version"]
    return cells, versions


def pools():
    quotes, outcomes = cited(), {}
    if os.path.exists(_OUTCOMES):
        with open(_OUTCOMES, encoding="utf-8") as file:
            result = json.load(file)
        part = next(part["table"] for part in result["parts"] if "table" in part)
        outcomes = {line[0]: line for line in part["lines"]}
    cells = {}
    for column, (tried, quoted) in POOLS.items():
        cells[column] = dict(quotes.get(quoted, {}))
        if tried in outcomes:
            _, limit, kills, task, others, after, *_, ended = outcomes[tried]
            seen = f"under {limit}, {kills} OOM kills; the task: {task}; the ten others: {others}"
            seen += f"; three afterwards: {after}; the program ended: {ended}"
            answers = {
                "cause": "OutOfMemory" in task,
                "others": others == "10 result",
                "after": after == "3 result",
            }
            for row, good in answers.items():
                cells[column][row] = Cell("yes" if good else "no", seen, True)
    return cells


# ---- the text ----------------------------------------------------------------------------------


def table(rows, cells):
    lines = [
        [text, *(str(column.get(row, _UNKNOWN)) for column in cells.values())]
        for row, text in rows.items()
    ]
    return str(reporting.Table(["", *cells], lines))


def details(rows, cells):
    """What each cell of each peer rests on."""
    parts = []
    for peer, column in cells.items():
        lines = [
            [text, column[row].answer, "tried" if column[row].tried else "cited",
             escaped(column[row].source, code=column[row].tried)]
            for row, text in rows.items() if row in column
        ]  # fmt: skip
        parts.append(f"### {peer}\n\n{narrow(lines)}")
    return "\n\n".join(parts)


def narrow(lines):
    """A table whose source is not filled up with blanks: its last column is long."""
    rows = [["", "answer", "", "seen, or where it is written"], ["-"] * 4, *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def escaped(text, code):
    text = text.replace("|", "/").replace("`", "'")
    if not code:
        return text.replace("<", "&lt;")
    where, _, seen = text.partition(": ")
    return f"{where}: `{seen}`" if seen else f"`{where}`"


def version_lines(versions):
    tried_first = sorted(versions.items(), key=lambda item: item[1].endswith("(cited)"))
    return ", ".join(f"{name} {version}" for name, version in tried_first)


def made(name, kept):
    if name == "commands":
        return table(COMMAND_ROWS, commands(kept)[0])
    if name == "command_versions":
        return f"Versions: {version_lines(commands(kept)[1])}."
    if name == "keepers":
        cells, versions = keepers(kept)
        return f"{table(KEEPER_ROWS, cells)}\n\nVersions: {version_lines(versions)}."
    if name == "pools":
        return table(POOL_ROWS, pools())
    every = (
        details(COMMAND_ROWS, commands(kept)[0]), details(KEEPER_ROWS, keepers(kept)[0]),
        details({**POOL_ROWS}, {f"pool: {peer}": column for peer, column in pools().items()}),
    )  # fmt: skip
    return "\n\n".join(every)


def fill(kept):
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    return _MADE.sub(lambda match: f"{match[1]}\n{made(match[2], kept)}\n\n{match[3]}", text)


def write(kept):
    text = fill(kept)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(text)


def current(kept):
    """Is the page what it would be if it were made now?"""
    with open(PAGE, encoding="utf-8") as file:
        return file.read() == fill(kept)
