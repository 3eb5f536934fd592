"""Try what docs/comparison.md tells of the peers, and make its tables.

    python benchmarks/compare.py                 what is here, and in the test machine; the page
    python benchmarks/compare.py --here          on this machine alone
    python benchmarks/compare.py --here -p runc  one peer
    python benchmarks/compare.py --page          the page, from what is kept
    python benchmarks/compare.py --check         is the page what was tried and cited?

What was seen goes to benchmarks/results/compare.json, with the versions; what cannot be tried is in
compare_cited.toml, with the source of each answer.  Nothing is timed.
"""

import json
import os
import platform
import subprocess
import sys

import common
import compare_commands
import compare_keepers
import compare_page
import reporting

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, "results", "compare.json")
_VM = os.path.join(os.path.dirname(HERE), "tests", "vm", "vm.py")
#: Where else it is tried: name: (options of the machine, peers).
MACHINES = {
    "v2, systemd": (["--systemd", "--mode", "v2"], "systemd-run,climits,cgroup-tools,runexec,runc"),
    "v1, systemd": (["--systemd", "--mode", "v1"], "systemd-run,climits,cgroup-tools,runexec,runc"),
    "v2, systemd, ordinary user": (
        ["--systemd", "--mode", "v2", "--user"],
        "systemd-run,climits,cgroup-tools,runexec,runc,bubblewrap",
    ),
}
#: On those only what may differ there.
_THERE = "limit,inside,verdict,child,peak,cache,swap,status,killed,change,pause,restart"


def where():
    root = "root" if os.geteuid() == 0 else "an ordinary user"
    return f"Linux {platform.release()}, cgroup {common.mode()}, as {root}"


def measure(options):
    if os.geteuid() == 0:
        common.join_own_cgroup()
    common.scratch()
    wanted = options.peer.split(",") if options.peer else None
    trials = options.trial.split(",") if options.trial else list(compare_commands.TRIALS)
    found = {"where": where(), "peers": {}, "keepers": {}}

    def say(text):
        print(text, flush=True)

    say(found["where"])
    for kind in compare_commands.EVERY:
        if wanted is None or any(kind.name.startswith(name) for name in wanted):
            found["peers"][kind.name] = compare_commands.tried(kind, trials, say)
    if wanted is None or "keepers" in wanted:
        found["keepers"] = compare_keepers.tried(say)
    if options.json == "-":
        print(reporting.MARK + json.dumps(found), flush=True)
    elif options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file)


def elsewhere(argv):
    """Run this script in another process; what it found, or None."""
    found = None
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stdout:
            if line.startswith(reporting.MARK):
                found = json.loads(line.removeprefix(reporting.MARK))
            else:
                print(line, end="", flush=True)
    return found


def keep(name, found):
    """Write what was found there; what else is kept stays."""
    kept = load()
    before = kept["runs"].setdefault(name, {"where": "", "peers": {}, "keepers": {}})
    before["where"] = found["where"]
    for part in ("peers", "keepers"):
        before[part].update(found[part])
    with open(KEPT, "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1, ensure_ascii=False)
        file.write("\n")


def load():
    if not os.path.exists(KEPT):
        return {"runs": {}}
    with open(KEPT, encoding="utf-8") as file:
        return json.load(file)


def main():
    parser = common.arguments(__doc__.partition("\n")[0], rounds=None, isolated=None)
    parser.add_argument("-p", "--peer", metavar="LIST", help="only these")
    parser.add_argument("-t", "--trial", metavar="LIST", help="only these")
    parser.add_argument("--here", action="store_true", help="not in the test machine")
    parser.add_argument("--machine", metavar="NAME", help="only there: " + "; ".join(MACHINES))
    parser.add_argument("--page", action="store_true", help="try nothing, make the page")
    parser.add_argument("--check", action="store_true", help="is the page what it should be?")
    options = parser.parse_args()
    if options.check:
        sys.exit(None if compare_page.current(load()) else "stale: compare.py --page")
    if options.page:
        compare_page.write(load())
    elif options.json:  # one machine's part
        common.main(parser, measure, needs_root=False)
    else:
        run(options)


def run(options):
    """Try it here and elsewhere, and make the page."""
    words = [a for pair in (("-p", options.peer), ("-t", options.trial)) if pair[1] for a in pair]
    script = [sys.executable, os.path.abspath(__file__), "--json", "-"]
    failed = []
    if not options.machine:
        keep_or_tell("here", elsewhere([*script, *words]), failed)
    for name, (machine, peers) in MACHINES.items():
        if options.here or options.machine not in (None, name):
            continue
        there = ["-p", options.peer or peers, "-t", options.trial or _THERE]
        keep_or_tell(
            name, elsewhere([sys.executable, _VM, *machine, "--timeout", "1500", "--", *script,
                             *there]), failed
        )  # fmt: skip
    compare_page.write(load())
    sys.exit(f"nothing from: {', '.join(failed)}" if failed else 0)


def keep_or_tell(name, found, failed):
    if found is None:
        failed.append(name)
    else:
        keep(name, found)


if __name__ == "__main__":
    main()
