"""What a sample of 1,000 cgroups costs, over the bare os.pread calls on the same descriptors.

The reference reads every kept descriptor and throws the bytes away.  `Sampler.sample` reads the
same and returns a Sample for each cgroup; a third subject asks each of them for what a screen
shows, which is when the bytes become numbers.
"""

import os

import common

from climits.cgroup import files
from climits.cgroup.layout import current
from climits.observe.sampler import Sampler

_REFERENCE = "bare os.pread of each descriptor"
_SHOWN = (
    "current", "max", "anon", "file", "shmem", "kernel", "swap", "limit_hits", "oom_kill",
    "pressure_some", "cpu", "pids",
)  # fmt: skip


def make_cgroups(number):
    """Make cgroups in each hierarchy that is sampled, ten to a parent."""
    layout = current()
    wanted = ["memory", "cpuacct", "pids"]
    found = {layout.find(name) for name in wanted} | {layout.unified}
    for hierarchy in filter(None, found):
        on = "".join(f"+{name} " for name in wanted if name in hierarchy.controllers)
        top = hierarchy.mount_point
        names = [f"{common.own_name()}"]
        if hierarchy.delegates:
            files.Directory(top).write("cgroup.subtree_control", on)
        files.make(f"{top}/{names[0]}")
        while len(names) < number:
            parent = names[(len(names) - 1) // 10]
            if hierarchy.delegates and on:
                files.Directory(f"{top}/{parent}").write("cgroup.subtree_control", on)
            names.append(f"{parent}/climits-{len(names)}")
            files.make(f"{top}/{names[-1]}")


def figures(sampler):
    def run():
        for sample in sampler.sample().values():
            for name in _SHOWN:
                getattr(sample, name)

    return run


def bare(descriptors):
    def run():
        for fd in descriptors:
            os.pread(fd, 4096, 0)

    return run


def measure(options):
    report = common.Report("sampler: 1,000 cgroups, ratio to their bare reads", options)
    make_cgroups(options.cgroups)
    top = f"/{common.own_name()}"
    with Sampler() as sampler:
        before = set(os.listdir("/proc/self/fd"))
        sampler.scan(top)
        assert len(sampler.sample()) == options.cgroups
        # Those of files, in the order in which the sampler opened them.
        opened = sorted(set(os.listdir("/proc/self/fd")) - before, key=int)
        descriptors = [int(fd) for fd in opened if os.path.exists(f"/proc/self/fd/{fd}")]
        times = common.sample(
            {
                _REFERENCE: bare(descriptors),
                "sample()": sampler.sample,
                f"sample() and {len(_SHOWN)} figures of each": figures(sampler),
                "scan() with nothing new": lambda: sampler.scan(top),
            },
            options.rounds,
            seed=options.seed,
        )
    lines = []
    for name, took in times.items():
        ratio = common.median([a / b for a, b in zip(took, times[_REFERENCE], strict=True)])
        spread = "-".join(common.number(common.quantile(took, q) * 1e3) for q in (0.1, 0.9))
        target = name == "sample()"
        holds = (
            report.target("sample(), over bare reads", ratio, "x", at_most=1.6) if target else ""
        )
        report.samples(name, [seconds * 1e3 for seconds in took], "ms")
        middle = common.number(common.median(took) * 1e3)
        lines.append([name, middle, spread, f"{ratio:.2f}x", "<= 1.6x" * target, holds])
    headings = ["what", "median (ms)", "p10-p90", "ratio", "target", "holds"]
    report.add(f"{options.cgroups} cgroups, {len(descriptors)} descriptors")
    report.add(common.Table(headings, lines))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=100, isolated=1, quick=(3, 1))
    parser.add_argument("--cgroups", type=int, metavar="N", default=1000, help="(%(default)d)")
    common.main(parser, measure)
