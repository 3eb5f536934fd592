"""Help texts, from the option table through argparse."""

import argparse

from .options import ALARMS, CGROUP, CONTAINER, LIFE, LIMITS, RESTART, TELLING, Option

#: Of each group of options: (title, a line below it or None).
TITLES = {
    LIMITS: ("limits", "kept by the kernel; what this host cannot enforce is refused"),
    RESTART: ("restarts", None),
    ALARMS: ("alarms", "raised before the program dies; see docs/supervise.md"),
    CGROUP: ("how it is done", None),
    CONTAINER: ("what is around it", None),
    LIFE: ("where and how it runs", None),
    TELLING: ("what is told", None),
}


def parser(
    command: str, summary: str, usage: str, options: "tuple[Option, ...]", epilog: str
) -> argparse.ArgumentParser:
    """An argparse parser for a command, for its help and for what is generated from it."""
    built = argparse.ArgumentParser(
        prog=f"climits {command}",
        usage=usage,
        description=summary,
        epilog=epilog,
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for flag, metavar, kind, group, text in options:
        if group not in groups:
            groups[group] = built.add_argument_group(*TITLES[group])
        if kind == "switch":
            groups[group].add_argument(flag, action="store_true", help=text)
        else:
            groups[group].add_argument(flag, metavar=metavar, help=text)
    return built
