"""What a scrape of 1,000 cgroups costs, over reading the same cgroups and writing nothing.

The reference is the sampler: follow the tree, read every file, make a number of each figure.
A scrape does that and writes the text, and is answered over HTTP.
"""

import os
import resource
import time
import urllib.request

import common
from tree import make_cgroups

from climits.observe.metrics import collect as metrics
from climits.observe.metrics.families import KINDS, OF_CGROUPS
from climits.observe.metrics.text import OPEN, write
from climits.observe.sampler import Sampler

_REFERENCE = "sample 1,000 cgroups, every figure a number"
_NAMES = (*OF_CGROUPS, *KINDS)


def sampled(sampler):
    def run():
        sampler.scan()
        for sample in sampler.sample().values():
            for name in _NAMES:
                getattr(sample, name)

    return run


def library_text(collector):
    """prometheus-client's own writer, for comparison."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(collector)
    return lambda: generate_latest(registry)


def fetched(url):
    def run():
        with urllib.request.urlopen(url) as answer:
            answer.read()

    return run


def measure(options):
    report = common.Report("metrics: a scrape, ratio to sampling", options)
    path = f"/{common.own_name()}"
    make_cgroups(path, options.cgroups)
    sampler = Sampler()
    collector = metrics.MachineMetrics(most_cgroups=10 * options.cgroups)
    server = metrics.MetricsServer("127.0.0.1:0", collector)
    subjects = {
        _REFERENCE: sampled(sampler),
        "collect": collector.collect,
        "collect and write": lambda: write(collector.collect(), OPEN),
        "a scrape over HTTP": fetched(f"http://{server.address}/metrics"),
        "with the writer of prometheus-client": library_text(collector),
    }
    times = common.sample(subjects, options.rounds, seed=options.seed)
    reference = common.median(times[_REFERENCE])
    lines = []
    for name, taken in times.items():
        middle = common.median(taken)
        spread = "-".join(common.number(common.quantile(taken, q) * 1e3) for q in (0.1, 0.9))
        target = name == "a scrape over HTTP"
        ratio = middle / reference
        holds = ""
        if target:
            holds = report.target(f"{name}, over sampling", ratio, "x", at_most=options.at_most)
        lines.append([
            name, common.number(middle * 1e3), spread, f"{ratio:.2f}x",
            f"<= {options.at_most:g}x" if target else "", holds,
        ])  # fmt: skip
    headings = ["what", "median (ms)", "p10-p90", "ratio", "target", "holds"]
    text = write(collector.collect())
    before, start = os.times(), time.monotonic()
    for _ in range(10):
        fetched(f"http://{server.address}/metrics")()
    after = os.times()
    cpu = (after.user + after.system - before.user - before.system) / 10
    report.add(
        f"{len(sampler.paths)} cgroups, {text.count(b'} ')} figures in "
        f"{len(text) >> 10} KiB of text; CPU time of a scrape {cpu * 1e3:.0f} ms, so "
        f"{cpu / 15 * 100:.2f} % of a core at one in 15 s; highest RSS "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB; "
        f"took {time.monotonic() - start:.1f} s"
    )
    report.add(common.Table(headings, lines))
    server.close()
    collector.close()
    sampler.close()
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=30, isolated=1, quick=(3, 1))
    parser.add_argument("--cgroups", type=int, metavar="N", default=1000, help="(%(default)d)")
    parser.add_argument("--at-most", type=float, default=2, help="target (%(default)g)")
    common.main(parser, measure)
