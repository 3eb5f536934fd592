"""What reading a tree of 1,000 cgroups costs, over reading the same files one by one.

The reference knows every path beforehand and does the least that Python can: for each file an
open, one os.pread and a close.  climits finds the cgroups, reads, and makes numbers of it.
"""

import os
import subprocess
import sys

import common

from climits.cgroup import files
from climits.cgroup.layout import current
from climits.observe.tree import read_tree

_REFERENCE = "open, os.pread, close of each file"
#: Of each cgroup; a hierarchy has those of its version and controllers.
_FILES = (
    "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.current", "memory.max",
    "pids.current", "pids.max", "cgroup.procs",
)  # fmt: skip


def make_cgroups(path, number):
    """Make cgroups, ten to a parent, where memory and pids are counted; paths of their files."""
    layout = current()
    found, seen = [], set()
    for name in ("memory", "pids"):
        hierarchy = layout.find(name)
        if hierarchy is None or hierarchy in seen:
            continue
        seen.add(hierarchy)
        top = files.Directory(hierarchy.mount_point)
        if hierarchy.delegates:
            top.write("cgroup.subtree_control", "+memory +pids")
        directories = [hierarchy.directory_path(path)]
        files.make(directories[0])
        while len(directories) < number:
            parent = directories[(len(directories) - 1) // 10]
            if hierarchy.delegates:
                files.Directory(parent).write("cgroup.subtree_control", "+memory +pids")
            directories.append(f"{parent}/{len(directories)}")
            files.make(directories[-1])
        # The processes of a cgroup are read once, in its first hierarchy.
        names = [n for n in _FILES if n != "cgroup.procs" or len(seen) == 1]
        found += [f"{d}/{n}" for d in directories for n in names if os.path.exists(f"{d}/{n}")]
    return found


def pread_each(paths):
    def run():
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            os.pread(fd, 8192, 0)
            os.close(fd)

    return run


def command(argv):
    env = common.environment()

    def run():
        subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, check=True)

    return run


def measure(options):
    report = common.Report("tree: a tree of cgroups, ratio to reading its files", options)
    path = f"/{common.own_name()}"
    paths = make_cgroups(path, options.cgroups)
    layout = current()
    assert sum(1 for _ in read_tree(layout, path).walk()) == options.cgroups
    climits = f"{os.path.dirname(sys.executable)}/climits"
    listing = f"{common.scratch()}/paths"
    with open(listing, "w", encoding="utf-8") as file:
        file.write("\n".join(paths))
    script = (
        "import os\n"
        f"for path in open({listing!r}).read().split('\\n'):\n"
        "    fd = os.open(path, os.O_RDONLY); os.pread(fd, 8192, 0); os.close(fd)\n"
    )
    # Warm: the first look at a file makes its inode.
    inside = common.sample(
        {_REFERENCE: pread_each(paths), "read_tree": lambda: read_tree(layout, path)},
        options.rounds,
        seed=options.seed,
    )
    whole = common.sample(
        {
            "python -I of the same": command([sys.executable, "-I", "-c", script]),
            "climits tree": command([climits, "tree", path]),
            "climits tree --json": command([climits, "tree", path, "--json"]),
        },
        options.isolated,
        seed=options.seed,
    )
    reference = common.median(inside[_REFERENCE])
    lines = []
    for name, times in (inside | whole).items():
        middle = common.median(times)
        spread = "-".join(common.number(common.quantile(times, q) * 1e3) for q in (0.1, 0.9))
        target = name in ("read_tree", "climits tree")
        ratio = middle / reference
        holds = ""
        if target:
            holds = report.target(f"{name}, over reading its files", ratio, "x", at_most=3)
        report.samples(name, [seconds * 1e3 for seconds in times], "ms")
        lines.append(
            [name, common.number(middle * 1e3), spread, f"{ratio:.2f}x", "<= 3x" * target, holds]
        )
    headings = ["what", "median (ms)", "p10-p90", "ratio", "target", "holds"]
    report.add(f"{options.cgroups} cgroups, {len(paths)} files")
    report.add(common.Table(headings, lines))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=100, isolated=50, quick=(3, 3))
    parser.add_argument("--cgroups", type=int, metavar="N", default=1000, help="(%(default)d)")
    common.main(parser, measure)
