"""Shell completions from the tables of options, by shtab."""

from __future__ import annotations

import argparse

import shtab
from commands import commands

from climits.cli.main import COMMANDS
from climits.observe.catalog import catalog

#: Where each shell looks for them, below a prefix such as /usr.
PLACES = {
    "bash": "share/bash-completion/completions/climits",
    "zsh": "share/zsh/site-functions/_climits",
    "fish": "share/fish/vendor_completions.d/climits.fish",
}

_LIST = "climits ls --recursive 2>/dev/null | sed '1d; s/ .*//'"
_PREAMBLE = {
    "bash": f"""\
_climits_commands() {{ compgen -A command -A file -- "$1"; }}
_climits_cgroups() {{ compgen -W "$({_LIST})" -- "$1"; }}
""",
    "zsh": f"""\
_climits_cgroups() {{ compadd -- ${{(f)"$({_LIST})"}} }}
""",
}
_COMMAND = {
    "bash": "_climits_commands", "zsh": "_command_names -e", "fish": "(__fish_complete_command)",
}  # fmt: skip
_CGROUP = {"bash": "_climits_cgroups", "zsh": "_climits_cgroups", "fish": f"({_LIST})"}
_OPTIONS = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "PATH": shtab.DIRECTORY}
_CTL = ["status", "start", "stop", "restart", "set-limit", "events", "reload", "shutdown"]

_OF_CGROUPS = "classify delete freeze get inspect kill ls reclaim set stats thaw top tree watch"

#: What the words of a command are: the first ones each, and the last for all that follow.
_WORDS: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("run", "container", "supervise", "suggest", "measure"), (_COMMAND,)),
    **dict.fromkeys(("enter", "exec"), (_CGROUP, _COMMAND)),
    **dict.fromkeys(_OF_CGROUPS.split(), (_CGROUP,)),
    **dict.fromkeys(("batch", "report", "plot"), (shtab.FILE,)),
    "cgtools": (["install"], shtab.DIRECTORY),
    "ctl": (_CTL,),
    "explain": (sorted({file.name for file in catalog()}), _CGROUP),
    "help": (list(COMMANDS),),
}


def completions(shell: str) -> str:
    """The text of a shell's file."""
    text: str = shtab.complete(_parser(), shell, preamble=_PREAMBLE)
    if shell == "zsh":
        text = text.replace("_arguments -C -s ", "_arguments -C -s -S ")  # -- ends the options
    return text.rstrip() + "\n"


def _parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser("climits", add_help=False)
    below = root.add_subparsers()
    for name, summary, module in commands():
        parser = below.add_parser(name, help=summary, description=summary, add_help=False)
        for flag, metavar, kind, _group, text in module.OPTIONS:
            if kind == "switch":
                parser.add_argument(flag, action="store_true", help=text)
            else:
                option = parser.add_argument(flag, metavar=metavar, help=text)
                if metavar in _OPTIONS:
                    option.complete = _OPTIONS[metavar]  # type: ignore[attr-defined]
        parser.add_argument("-h", "--help", action="store_true", help="show these options")
        _add_words(parser, _WORDS.get(name, ()))
    _add_words(below.add_parser("help", help="show the options of a command"), _WORDS["help"])
    return root


def _add_words(parser: argparse.ArgumentParser, kinds: tuple[object, ...]) -> None:
    for n, kind in enumerate(kinds):
        last = n == len(kinds) - 1
        nargs = "*" if last else None
        word = parser.add_argument(f"word{n}", nargs=nargs, help=_told(kind))
        if isinstance(kind, list):
            word.choices = kind
        else:
            word.complete = kind  # type: ignore[attr-defined]


def _told(kind: object) -> str:
    if kind is _CGROUP:
        return "cgroup"
    return "command" if kind is _COMMAND else "word"
