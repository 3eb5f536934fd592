"""What a container costs: by the library beside bwrap, as a command beside runc and crun.

Each subject starts /bin/true of the same busybox root file system in every new namespace and waits.
"""

import os

import common
import peers
from command import row

import climits

_COMMAND = "climits container --rootfs"
_LIBRARY = "climits.run(..., container=)"
_TRUE = "/bin/true"


def library(root):
    """A launch by the library: a fresh cgroup, a limit, namespaces, mounts, filter, verdict."""
    container = climits.Container(rootfs=root, init=False)

    def run():
        result = climits.run([_TRUE], memory=peers.LIMIT, container=container)
        if result.returncode:
            raise RuntimeError(str(result))

    return run


def command(root):
    return [
        peers.CLIMITS, "container", "--memory", "64M", "--quiet", "--no-init", "--rootfs", root,
        "--", _TRUE,
    ]  # fmt: skip


def bundle(scratch, name):
    directory = os.path.join(scratch, name)
    os.makedirs(directory)
    return peers.runc(directory, _TRUE, command=name)


def measure(options):
    common.join_own_cgroup()
    report = common.Report("container: in namespaces of its own", options)
    scratch = common.scratch()
    root = peers.busybox_root(scratch)
    every = [
        row("bwrap --unshare-all, no limit", lambda: peers.bwrap_all(root, _TRUE)),
        common.Row(_LIBRARY, library(root), at_most=2),
    ]
    reference = every[0].name if every[0].run else _LIBRARY
    timed = {"scale": 1e3, "unit": "ms"}
    report.heading("by the library")
    report.add(common.Table(*common.compare(report, every, reference, options, **timed)))
    every = [
        row(_COMMAND, lambda: command(root)),
        row("runc run", lambda: bundle(scratch, "runc"), at_least=1),
        row("crun run", lambda: bundle(scratch, "crun"), at_least=1),
    ]
    report.heading("as a command")
    report.add(common.Table(*common.compare(report, every, _COMMAND, options, **timed)))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=100, isolated=50, quick=(3, 3))
    common.main(parser, measure)
