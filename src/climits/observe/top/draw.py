"""Bars and sparklines as text, with or without the block characters."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    #: (text, name of a style); see STYLES in table.py.
    Piece = tuple[str, str]

_BLOCKS, _ASCII_BLOCKS = " ▁▂▃▄▅▆▇█", " _.:-=+*#"
#: How a bar shows anonymous memory, page cache and the rest: told apart without colour too.
_FILLS = {"anon": ("█", "#"), "other": ("▓", "+"), "file": ("░", ":")}
_TREE = {"└─ ": "`- ", "├─ ": "|- ", "│  ": "|  "}

#: (what, style), in the order in which a bar shows them.
KINDS = (("anon", "anon"), ("shmem+kernel", "other"), ("page cache", "file"))


def fill(style: str, ascii_only: bool) -> str:
    """The character by which a bar shows a kind of memory: anon, other or file."""
    return _FILLS[style][ascii_only]


def bar(
    kinds: "tuple[int | None, int | None, int | None]",
    whole: "int | float | None",
    width: int,
    *,
    ascii_only: bool = False,
) -> "list[Piece]":
    """Usage by kind against a limit.

    Args:
        kinds: usage, anonymous memory and page cache, bytes; the rest is shared and kernel memory.
        whole: what the whole width stands for, bytes.
        width: characters.
        ascii_only: no block characters.
    """
    current, anon, file = kinds
    if current is None or not whole or width <= 0:
        return [(" " * max(width, 0), "")]
    anon, file = anon or 0, file or 0
    # On v1 usage is a fuzzy counter, and may be less than what it is made of.
    other = max(current - anon - file, 0)
    out: list[Piece] = []
    total = done = 0
    for style, size in (("anon", anon), ("other", other), ("file", file)):
        total += size
        end = min(int(total * width / whole + 0.5), width)
        if end > done:
            out.append((fill(style, ascii_only) * (end - done), style))
            done = end
    if done < width:
        out.append((" " * (width - done), ""))
    return out


def spark(
    history: "Sequence[int | None]",
    tick: int,
    width: int,
    *,
    whole: "int | float | None" = None,
    span: int,
    ascii_only: bool = False,
) -> str:
    """The last values as a line of blocks, the latest on the right.

    Several values share a character, which shows the highest of them; which ones hangs on their
    number alone, so that the line moves on as a whole.

    Args:
        history: values, the latest last.
        tick: number of the latest.
        width: characters.
        whole: the value of a full block; None: the highest of these.
        span: how many values the whole width stands for, at least.
        ascii_only: no block characters.
    """
    levels = _ASCII_BLOCKS if ascii_only else _BLOCKS
    if width <= 0:
        return ""
    share = max(-(-span // width), 1)
    newest = tick // share
    tops: list[int | None] = [None] * width
    first = tick - len(history) + 1
    for i, value in enumerate(history):
        place = width - 1 - (newest - (first + i) // share)
        if value is not None and place >= 0:
            known = tops[place]
            tops[place] = value if known is None or value > known else known
    full = whole or max((top for top in tops if top is not None), default=0)
    most = len(levels) - 1
    text = ""
    for top in tops:
        if not top or not full:
            text += levels[0]
        else:
            text += levels[max(1, min(most, int(top * most / full + 0.5)))]
    return text


def branch(text: str, *, ascii_only: bool) -> str:
    """The lines before a name of a tree, in characters that the terminal has."""
    if ascii_only:
        for line, plain in _TREE.items():
            text = text.replace(line, plain)
    return text


def cut(text: str, width: int, *, ascii_only: bool = False, front: bool = False) -> str:
    """The text in at most `width` characters; what is left out is marked at its end, or front."""
    if len(text) <= width:
        return text
    mark = "~" if ascii_only else "…"
    if width <= 1:
        return mark[:width]
    return mark + text[1 - width :] if front else text[: width - 1] + mark
