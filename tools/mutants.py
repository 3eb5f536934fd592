#!/usr/bin/env python3
"""Mutation testing: change the code a little, and see whether a test notices.

    tools/mutants.py [--show] [WORD ...]

Works on a copy, with mutmut, on the modules of MODULES whose path contains one of the words (all
without words), each against the tests named for it.  Prints how many changes of each module the
tests noticed, and with --show the changes that they did not.  Not every survivor is a fault of the
tests: a text of an error that is only looked up in part, or a bound that cannot be reached, may
well survive.  Takes minutes; no test runs it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

#: Each module under src/climits, and the tests under tests/unit that are to notice.
MODULES = {
    "units.py": "units",
    "program/verdict.py": "verdict",
    "supervise/policy.py": "policy",
    "batch/scheduler.py": "batch_scheduler",
    "batch/template.py": "batch_template parsers_text",
    "batch/read.py": "batch_read parsers_text",
    "cgroup/causes.py": "parsers_kernel",
    "cgroup/translate.py": "translate",
    "cgroup/triggers.py": "alarms parsers_text",
    "history/suggest.py": "history_suggest",
    "linux/dbus.py": "dbus parsers_bytes",
    "linux/kmsg.py": "kmsg parsers_kernel",
    "linux/kernel_config.py": "parsers_kernel",
    "linux/mounts.py": "mounts parsers_kernel",
    "linux/proc.py": "proc parsers_kernel",
    "program/bundle_json.py": "bundle",
    "supervise/alarms.py": "alarms parsers_text",
    "supervise/address.py": "parsers_text",
    "supervise/config_values.py": "config",
    "supervise/toml_lines.py": "config",
}

#: Without the test of deep nesting: mutmut makes what calls itself twice as deep.
CONFIG = """
[mutmut]
source_paths=src/
also_copy=
    tests
    docs
only_mutate=
{modules}
pytest_add_cli_args=
    -p
    no:cacheprovider
    -k
    not deep_nesting
pytest_add_cli_args_test_selection=
{tests}
"""


def main(words: list[str]) -> int:
    """Mutate, test, tell; the exit status."""
    show = "--show" in words
    words = [w for w in words if w != "--show"]
    chosen = [m for m in MODULES if not words or any(w in m for w in words)]
    if not chosen:
        print(f"tools/mutants.py: no module of {', '.join(MODULES)} is meant", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="climits-mutants-") as room:
        lay_out(Path(room), chosen)
        with open(f"{room}/out", "wb") as out:
            status = mutmut(room, "run", stdout=out, stderr=out).returncode
        results = dict(re.findall(r"^\s+(\S+): (.+)$", results_of(room), re.M))
        if status or not results:
            sys.stderr.write(Path(f"{room}/out").read_text(errors="replace")[-3000:])
            return 1
        tell(chosen, results)
        if show:
            show_survivors(room, results)
    return 0


def lay_out(room: Path, chosen: list[str]) -> None:
    """Copy the tree, with the compiled parts of whatever climits is installed."""
    import climits.launch

    for name in ("src", "tests", "share", "docs", "contrib", "tools", "scripts"):
        shutil.copytree(HERE / name, room / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "CHANGELOG.md"):
        shutil.copy(HERE / name, room)
    for path in Path(climits.launch.__path__[0]).iterdir():
        if path.suffix == ".so" or path.name == "climits-init":
            shutil.copy(path, room / "src/climits/launch")
    tests = {f"tests/unit/test_{t}.py" for m in chosen for t in MODULES[m].split()}
    (room / "setup.cfg").write_text(
        CONFIG.format(
            modules="\n".join(f"    src/climits/{m}" for m in chosen),
            tests="\n".join(f"    {t}" for t in sorted(tests)),
        )
    )


def mutmut(room: str, *words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run it in the copy, with the tests of the copy and nobody's settings."""
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "mutmut", *words], cwd=room, env=environ, text=True, **options
    )


def results_of(room: str) -> str:
    """A line for each mutant: its name and what became of it."""
    return mutmut(room, "results", "--all", "true", stdout=subprocess.PIPE).stdout


def module_of(mutant: str) -> str:
    """``units.py`` of ``climits.units.x_cut__mutmut_1``."""
    return mutant.partition(".")[2].rpartition(".")[0].replace(".", "/") + ".py"


def tell(chosen: list[str], results: dict[str, str]) -> None:
    """The table; a mutant that never ended was noticed."""
    rows = {m: Counter(s for name, s in results.items() if module_of(name) == m) for m in chosen}
    width = max(map(len, chosen))
    print(f"{'module':{width}}  mutants  killed  survived  untested")
    for module, found in [*rows.items(), ("all", sum(rows.values(), Counter()))]:
        killed = found["killed"] + found["timeout"] + found["segfault"] + found["suspicious"]
        print(
            f"{module:{width}}  {found.total():7}  {killed:6}  "
            f"{found['survived']:8}  {found['no tests']:8}"
        )


def show_survivors(room: str, results: dict[str, str]) -> None:
    """The lines of each change that no test noticed."""
    for name, status in results.items():
        if status in ("survived", "no tests"):
            diff = mutmut(room, "show", name, stdout=subprocess.PIPE).stdout
            print(f"\n{name}: {status}")
            for line in diff.splitlines():
                if line[:1] in ("-", "+") and line[:3] not in ("---", "+++"):
                    print(f"    {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
