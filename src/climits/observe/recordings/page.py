"""A report as one page of HTML, which needs nothing else: no network, no script.

Its pictures are SVG whose ink and paper are variables of its style sheet, so that they follow the
reader's light or dark mode.
"""

from html import escape

from ..text import printable
from .draw import Theme, draw_comparison, draw_run, to_svg
from .words import headline, rows, why

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .report import Run

#: Colours that nothing else has, to be replaced by what the style sheet says.
_INK, _PAPER, _RULE = "#010203", "#fdfefc", "#020304"
_THEME = Theme(_INK, _PAPER, _RULE)
_VARIABLES = {_INK: "var(--ink)", _PAPER: "var(--paper)", _RULE: "var(--rule)"}
#: matplotlib writes the font of the machine that draws.
_FONTS = "'DejaVu Sans', 'Bitstream Vera Sans'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff;
  --card: #f6f8fa; --rule: #d0d7de; --bad: #a33b00; --good: #00664a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --paper: #14181d;
  --card: #1c2229; --rule: #363f49; --bad: #ff9b5e; --good: #4bd3a5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem) 3rem; max-width: 72rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .3rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.verdict { font-weight: 600; margin: 0 0 .6rem; overflow-wrap: anywhere; }
.bad { color: var(--bad); } .good { color: var(--good); }
.why { margin: .4rem 0 0; padding: .7rem 1rem; background: var(--card);
  border-left: 4px solid var(--bad); border-radius: 4px; }
.why.fine { border-color: var(--good); }
.why p { margin: .2rem 0; }
.note { color: var(--soft); margin: .4rem 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0 0; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 34rem; height: auto; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0;
  border-bottom: 1px solid var(--rule); overflow-wrap: anywhere; }
tbody th { font-weight: 400; color: var(--soft); white-space: nowrap; }
td { min-width: 9rem; max-width: 44rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; } }
"""


def page(runs: "list[Run]", notes: list[str], version: str) -> str:
    """The whole page.

    Args:
        runs: one or several.
        notes: what the reader should know of the recordings, such as how far one is good.
        version: of climits.
    """
    several = len(runs) > 1
    title = f"{len(runs)} runs compared" if several else runs[0].name
    body = [f"<h1>{_text(title)}</h1>"]
    body += [f'<p class="note">{_text(note)}</p>' for note in notes]
    if several:
        body += _comparison(runs)
    for number, run in enumerate(runs):
        body += _run(run, number, several)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)} - climits report</title>\n<style>{_STYLE}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n"
        f"<footer>Made by climits {_text(version)}. Sizes are powers of 1024; the highest usage "
        "counts the page cache too.</footer>\n</body>\n</html>\n"
    )


def _comparison(runs: "list[Run]") -> list[str]:
    figure = draw_comparison([run.trace for run in runs], [run.name for run in runs], _THEME)
    verdicts = "; ".join(f"{run.name}: {headline(run.trace)}" for run in runs)
    tables = [dict(rows(run.recording, run.trace)) for run in runs]
    head = "".join(f'<th scope="col">{_text(run.name)}</th>' for run in runs)
    lines = []
    for what in tables[0]:
        cells = "".join(f"<td>{_text(table[what])}</td>" for table in tables)
        lines.append(f'<tr><th scope="row">{_text(what)}</th>{cells}</tr>')
    return [
        _figure(figure, "all", f"Memory in use over time. {verdicts}"),
        '<div class="wide"><table>\n<thead><tr><td></td>' + head + "</tr></thead>\n<tbody>",
        *lines,
        "</tbody></table></div>",
    ]


def _run(run: "Run", number: int, several: bool) -> list[str]:
    """One run: the verdict, why, the picture; and its table, where there is no common one."""
    trace = run.trace
    bad = trace.result is not None and (
        trace.result.verdict != "exited" or trace.result.returncode not in (0, None)
    )
    mood = "bad" if bad else "good"
    out = [f"<h2>{_text(run.name)}</h2>"] if several else []
    text = headline(trace)
    out.append(f'<p class="verdict {mood}">{_text(text)}</p>')
    reasons = why(trace)
    if reasons:
        lines = "".join(f"<p>{_text(reason)}</p>" for reason in reasons)
        out.append(f'<div class="why{"" if bad else " fine"}">{lines}</div>')
    alt = f"Memory of {run.name} over time, by kind, with its limits. {text}. {' '.join(reasons)}"
    if trace.times:
        out.append(_figure(draw_run(trace, _THEME, titled=False), f"run{number}", alt))
    if not several:
        lines = "\n".join(
            f'<tr><th scope="row">{_text(what)}</th><td>{_text(value)}</td></tr>'
            for what, value in rows(run.recording, trace)
        )
        out.append(f"<h3>Verdict and evidence</h3>\n<table><tbody>\n{lines}\n</tbody></table>")
    return out


def _figure(figure: "Figure", salt: str, alt: str) -> str:
    svg = to_svg(figure, salt=salt, as_text=True)
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = svg.replace(_FONTS, "system-ui").replace(' id="', f' id="{salt}-')
    svg = svg.replace('"#', f'"#{salt}-').replace("url(#", f"url(#{salt}-")
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{_text(alt)}"', 1)
    return f"<figure>{svg}</figure>"


def _text(text: str) -> str:
    """It, for a page: what is no letter or sign is shown as Python writes it."""
    return escape(printable(text))
