"""What the scripts that draw pictures share: boxes, text and arrows as one SVG file.

A picture has its own ground and takes the reader's choice of light or dark, so it can be read on
any page. Fonts are the reader's own. Texts are given line by line: nothing is wrapped here.
Coordinates are user units, from the top left; a picture some 460 wide is legible on a phone.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

#: class: (fill, stroke) in the light and in the dark; what is written has no stroke.
COLOURS = {
    "ground": (("#ffffff", "none"), ("#15181d", "none")),
    "box": (("#f2f4f7", "#7d8793"), ("#232830", "#7d8793")),
    "mark": (("#e3ecfa", "#2c62b4"), ("#1b2c47", "#7ba7ea")),
    "good": (("#e2f2e5", "#2a7a3a"), ("#17301d", "#6cc27c")),
    "bad": (("#fbe7e4", "#b23a2e"), ("#3c1d1a", "#ee8a7e")),
    "wait": (("#fcf1d8", "#9a6a00"), ("#362a10", "#e0b04c")),
    "ink": (("#1c2127", "none"), ("#e7eaee", "none")),
    "soft": (("#56606b", "none"), ("#a3adb8", "none")),
    "line": (("none", "#56606b"), ("none", "#a3adb8")),
    "head": (("#56606b", "none"), ("#a3adb8", "none")),
}
_FONT = 'system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif'
_MONO = 'ui-monospace, "DejaVu Sans Mono", "Liberation Mono", monospace'
_HEAD = 7  # length of an arrow's head


def _style() -> str:
    light, dark = (
        "".join(
            f".{name}{{fill:{each[mode][0]};stroke:{each[mode][1]}}}"
            for name, each in COLOURS.items()
        )
        for mode in (0, 1)
    )
    return (
        f"text{{font-family:{_FONT};font-size:14px}}.small{{font-size:12.5px}}"
        f".mono{{font-family:{_MONO};font-size:12.5px}}.bold{{font-weight:600}}"
        f".dashed{{stroke-dasharray:5 4}}{light}@media(prefers-color-scheme:dark){{{dark}}}"
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _data(data: dict[str, str]) -> str:
    return "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())


class Picture:
    """One picture: draw on it, then take its text.

    Attributes:
        width: of the whole, user units.
    """

    def __init__(self, width: int, title: str, description: str) -> None:
        self.width, self._title, self._description = width, title, description
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box",
            **data: str) -> None:  # fmt: skip
        """A rectangle; `data` becomes its data- attributes."""
        corners = "".join(
            f' {name}="{_number(value)}"'
            for name, value in (("x", x), ("y", y), ("width", width), ("height", height))
        )
        self._parts.append(f'<rect class="{kind}"{corners} rx="5"{_data(data)}/>')

    def text(self, x: float, y: float, text: str, kind: str = "ink", anchor: str = "start") -> None:
        """One line; y is where its letters stand."""
        end = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(
            f'<text class="{kind}" x="{_number(x)}" y="{_number(y)}"{end}>{escape(text)}</text>'
        )

    def lines(self, x: float, y: float, texts: tuple[str, ...], kind: str = "ink",
              anchor: str = "start", step: float = 18) -> None:  # fmt: skip
        """Several lines, the first of which stands at y."""
        for number, text in enumerate(texts):
            self.text(x, y + number * step, text, kind, anchor)

    def card(self, x: float, y: float, width: float, texts: tuple[str, ...], kind: str = "box",
             small: bool = False) -> float:  # fmt: skip
        """A box with lines in its middle, as high as they need; returns where it ends."""
        step = 17 if small else 18
        height = len(texts) * step + 14
        self.box(x, y, width, height, kind)
        style = "ink small" if small else "ink"
        self.lines(x + width / 2, y + 7 + step - 4, texts, style, "middle", step)
        return y + height

    def arrow(self, *points: tuple[float, float], kind: str = "line", **data: str) -> None:
        """A line through points, straight up, down or across, with a head at the last."""
        (x1, y1), (x2, y2) = points[-2:]
        along = ((x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1))
        path = "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
        back = (x2 - along[0] * _HEAD, y2 - along[1] * _HEAD)
        side = (along[1] * _HEAD / 2, along[0] * _HEAD / 2)
        head = " ".join(
            f"{_number(x)},{_number(y)}"
            for x, y in ((x2, y2), (back[0] + side[0], back[1] + side[1]),
                         (back[0] - side[0], back[1] - side[1]))
        )  # fmt: skip
        self._parts.append(
            f'<g{_data(data)}><path class="{kind}" d="{path}"/>'
            f'<polygon class="head" points="{head}"/></g>'
        )

    def dot(self, x: float, y: float) -> None:
        """A small disc, where a line begins."""
        self._parts.append(f'<circle class="head" cx="{_number(x)}" cy="{_number(y)}" r="3"/>')

    def line(self, *points: tuple[float, float], kind: str = "line") -> None:
        """A line through points."""
        path = "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def render(self, height: int) -> str:
        """The file: legible in light and dark, and told to those who cannot see it."""
        size = f'width="{self.width}" height="{height}" viewBox="0 0 {self.width} {height}"'
        ground = f'<rect class="ground" width="{self.width}" height="{height}" rx="8"/>'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" '
            f'aria-labelledby="title desc">',
            f'<title id="title">{escape(self._title)}</title>',
            f'<desc id="desc">{escape(self._description)}</desc>',
            f"<style>{_style()}</style>",
            ground,
        )
        return "\n".join([*head, *self._parts, "</svg>", ""])


def write(name: str, text: str) -> int:
    """Write a picture to docs/images, or with ``--check`` say whether it would change.

    Returns:
        The exit status: 1 if it was to be checked, and would change.
    """
    path = IMAGES / name
    if sys.argv[1:] == ["--check"]:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old != text:
            print(f"{path.relative_to(ROOT)}: run {Path(sys.argv[0]).name}")
        return int(old != text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return 0
