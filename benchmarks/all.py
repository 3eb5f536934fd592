"""Rerun the benchmarks, keep their results, and make the page and the plots from them.

    python benchmarks/all.py                     everything (an hour), as root
    python benchmarks/all.py launch command      these, and the page anew
    python benchmarks/all.py --share 0.4         with fewer rounds
    python benchmarks/all.py --quick             does it work? no result is kept
    python benchmarks/all.py --page              only the page and plots, from the kept results
    python benchmarks/all.py --check             are they what the results say?

Each script runs by itself, one after the other.  One that fails leaves its old result as it is; the
others go on, and the exit status is 1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import pages
import reporting

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "results")
#: In the order of the page.
SCRIPTS = (
    "command", "launch", "memory", "supervise", "container", "toolbox", "tree", "batch", "history",
    "sampler", "recorder", "top", "metrics", "polling", "scope", "pool", "pool_outcomes", "size",
)  # fmt: skip
#: systemd must be process 1, and as an ordinary user: so in the test machine.
_IN_VM = {"scope": ["--systemd", "--user"]}


def command(name, options, output):
    """The command line of a script."""
    words = [sys.executable, os.path.join(HERE, f"{name}.py"), "--json", output]
    words += ["--quick"] if options.quick else ["--share", str(options.share)]
    if name not in _IN_VM:
        return words
    vm = os.path.join(os.path.dirname(HERE), "tests", "vm", "vm.py")
    words[words.index(output)] = "-"
    return [sys.executable, vm, *_IN_VM[name], "--timeout", "900", "--", *words]


def run(name, options, output):
    """Run a script; True if it went well."""
    print(f"---- {name} ----", file=sys.stderr, flush=True)
    with subprocess.Popen(
        command(name, options, output), stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stdout:
            if line.startswith(reporting.MARK):
                reporting.save(json.loads(line.removeprefix(reporting.MARK)), output)
            else:
                print(line, end="", flush=True)
    if process.returncode:
        print(f"{name}: exit status {process.returncode}", file=sys.stderr, flush=True)
    return process.returncode == 0


def measure(options, folder):
    """Run what was asked for; names of those that failed."""
    begin, failed = time.monotonic(), []
    for name in options.script or SCRIPTS:
        if name in _IN_VM and options.no_vm:
            continue
        output = os.path.join(folder, f"{name}.json")
        new = f"{output}.new"
        if run(name, options, new) and os.path.exists(new):
            os.replace(new, output)
        else:
            failed.append(name)
            if os.path.exists(new):
                os.unlink(new)
    minutes = (time.monotonic() - begin) / 60
    print(f"---- all of it took {minutes:.0f} min ----", file=sys.stderr, flush=True)
    return failed


def load_results(folder):
    """name: result, of those that are there."""
    found = {}
    for name in SCRIPTS:
        path = os.path.join(folder, f"{name}.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[name] = json.load(file)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("script", nargs="*", metavar="SCRIPT", help=", ".join(SCRIPTS))
    parser.add_argument("--quick", action="store_true", help="a smoke run: no result is kept")
    parser.add_argument("--share", type=float, default=1.0, metavar="S", help="of the rounds (1)")
    parser.add_argument("--no-vm", action="store_true", help="nothing that needs the test machine")
    parser.add_argument("--page", action="store_true", help="measure nothing, make the page")
    parser.add_argument("--check", action="store_true", help="is the page what the results say?")
    options = parser.parse_args()
    if unknown := set(options.script) - set(SCRIPTS):
        parser.error(f"no such script: {', '.join(sorted(unknown))}")
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            failed = measure(options, folder)
            pages.fill(load_results(folder))  # it can be made
            sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
    if options.check:
        stale = pages.stale(load_results(RESULTS))
        sys.exit(f"not what the results say: {', '.join(stale)}; all.py --page" if stale else 0)
    failed = [] if options.page else measure(options, RESULTS)
    results = load_results(RESULTS)
    pages.write(results)
    import plots  # matplotlib is needed for nothing else

    plots.draw(results)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
