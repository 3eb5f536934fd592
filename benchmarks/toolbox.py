"""What one command of the toolbox costs, beside bare Python and cgroup-tools.

Each command is started by posix_spawn and waited for; the time is that of the whole command.
"""

import os
import subprocess
import sys

import common
from command import runner

_REFERENCE = "python -I -c pass"


def rows(climits, path):
    cgget = "/usr/bin/cgget"
    commands = {
        "climits get NAME memory.max": [climits, "get", path, "memory.max"],
        "climits get NAME, the summary": [climits, "get", path],
        "climits set NAME memory.max=": [climits, "set", path, "memory.max=64M"],
        "climits exec NAME /bin/true": [climits, "exec", path, "/bin/true"],
    }
    found = [common.Row(_REFERENCE, runner([[sys.executable, "-I", "-c", "pass"]]))]
    for name, argv in commands.items():
        one_file = name.startswith("climits get NAME memory.max")
        goal = {"at_most": 1.6} if one_file else {}
        found.append(common.Row(name, runner([argv]), **goal))
    if os.access(cgget, os.X_OK) and common.memory_hierarchy():
        argv = [cgget, "-n", "-v", "-r", "memory.limit_in_bytes", path]
        found.append(common.Row("cgget -r memory.limit_in_bytes", runner([argv])))
    return found


def measure(options):
    report = common.Report("toolbox: one command, ratio to bare Python", options)
    climits = f"{os.path.dirname(sys.executable)}/climits"
    path = f"/{common.own_name()}"
    subprocess.run(
        [climits, "create", path, "--memory", "64M"], check=True, stdout=subprocess.DEVNULL
    )
    try:
        every = rows(climits, path)
        compared = common.compare(report, every, _REFERENCE, options, scale=1e3, unit="ms")
        report.add(common.Table(*compared))
    finally:
        subprocess.run([climits, "delete", path], check=False)
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=100, isolated=100, quick=(3, 3))
    common.main(parser, measure)
