#!/usr/bin/env python3
"""Draw the picture of the README, a terminal in light and dark, from a real run.

A program that needs 60 MiB is kept alive under a limit of 60M: a threshold warns, the OOM killer
takes it, it gets more memory and comes to its end; then its history suggests a limit.

Usage: tools/picture_run.py [FILE]    (docs/images/run.svg)
Needs the climits that belongs to this interpreter, and what it needs to make a cgroup.
"""

import os
import pty
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
APP = "./app --step 15M --until 60M"
COMMANDS = (
    f"climits supervise --memory 60M --alarm threshold=80% --grow 1.5 -- {APP}",
    f"climits suggest -- {APP}",
)
#: Characters of a line; pixels of a character, of a line, and around the text.
COLUMNS, WIDTH, LINE, EDGE = 100, 8.4, 20, 16

#: class: (light, dark).  What climits says is told by what it says, the program's own words recede.
COLOURS = {
    "text": ("#1f2328", "#e6edf3"),
    "own": ("#59636e", "#9198a1"),
    "good": ("#116329", "#56d364"),
    "warn": ("#7d4e00", "#e3b341"),
    "bad": ("#b42318", "#ff7b72"),
    "note": ("#0550ae", "#79c0ff"),
}
#: What a line of climits' has in it: its class.
KINDS = {"oom-killed": "bad", "alarm": "warn", "exited 0": "good", "climits:": "note"}

STYLE = """
svg {{ font: 14px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace }}
rect {{ fill: #ffffff; stroke: #d1d9e0 }}
{light}
.prompt {{ font-weight: bold }}
@media (prefers-color-scheme: dark) {{
rect {{ fill: #0d1117; stroke: #3d444d }}
{dark}
}}
"""


def run(command: str, folder: str) -> list[str]:
    """Run a command of ours in a terminal, and bring what stands there afterwards.

    Raises:
        SystemExit: it failed.
    """
    leader, follower = pty.openpty()
    words = [str(Path(sys.executable).parent / "climits"), *shlex.split(command)[1:]]
    environment = os.environ | {
        "CLIMITS_STATE_DIR": f"{folder}/state", "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1",
        # The program's first line names the interpreter of its #! line.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdin=follower, stdout=follower, stderr=follower
    ) as process:
        os.close(follower)
        text = b""
        while part := read(leader):
            text += part
    os.close(leader)
    if process.returncode:
        sys.exit(f"picture_run: {command}: status {process.returncode}\n{text.decode()}")
    return text.decode().splitlines()


def read(leader: int) -> bytes:
    """What the terminal has next; nothing when its last user has gone."""
    try:
        return os.read(leader, 1 << 16)
    except OSError:
        return b""


def draw(lines: list[str]) -> str:
    """A terminal with these lines."""
    width, height = COLUMNS * WIDTH + 2 * EDGE, len(lines) * LINE + 2 * EDGE
    light, dark = (
        "\n".join(f".{name} {{ fill: {pair[at]} }}" for name, pair in COLOURS.items())
        for at in (0, 1)
    )
    said = escape(" ".join(lines[0].split()))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" role="img">',
        f"<title>{said}</title>",
        f"<style>{STYLE.format(light=light, dark=dark)}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="8"/>',
    ]
    for number, line in enumerate(lines):
        if line:
            # The length is given so that columns stand, whatever font the reader has.
            parts.append(
                f'<text x="{EDGE}" y="{EDGE + (number + 1) * LINE - 6}" class="{kind(line)}" '
                f'textLength="{len(line) * WIDTH:.0f}" lengthAdjust="spacingAndGlyphs" '
                f'xml:space="preserve">{escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def kind(line: str) -> str:
    """The class of a line."""
    if line.startswith("$ "):
        return "text prompt"
    if not line.startswith("climits:"):
        return "own" if not line[:1].isdigit() else "text"
    return next(name for words, name in KINDS.items() if words in line)


def main() -> None:
    """Run the commands and draw what came of them."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images/run.svg"
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "examples/simple_app.py", f"{folder}/app")
        os.chmod(f"{folder}/app", 0o755)
        for command in COMMANDS:
            lines += [*([""] if lines else []), f"$ {command}", *run(command, folder)]
    if long := [line for line in lines if len(line) > COLUMNS]:
        sys.exit(f"picture_run: longer than {COLUMNS} characters: {long[0]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(draw(lines), encoding="utf-8")
    print(file)


if __name__ == "__main__":
    main()
