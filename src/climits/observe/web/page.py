"""The page as HTML: whole without JavaScript, which only keeps it up to date and adds buttons."""

import socket
import time
from html import escape

from ...units import format_duration
from .view import FULL, NEAR, summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .view import Row

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>climits on {host}</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="style.css">
<script src="live.js" defer></script>
</head>
<body{attributes}>
<a class="skip" href="#programs">Skip to the programs</a>
<header>
<h1><span class="mark">climits</span> <span id="host">{host}</span></h1>
<p id="summary">{summary}</p>
<p id="link" class="off" role="status"></p>
<button type="button" id="unlock" hidden>Unlock actions</button>
</header>
<noscript><p class="notice">{without}</p></noscript>
<p id="notice" class="notice" role="status" hidden></p>
"""

_PROGRAMS = """\
<main>
<section aria-labelledby="programs">
<div class="bar">
<h2 id="programs" tabindex="-1">Programs</h2>
<a href="#events" class="down">Events</a>
<label id="filter" hidden>Filter <input type="search" autocomplete="off" spellcheck="false"></label>
</div>
<table role="table" aria-labelledby="programs">
<thead role="rowgroup"><tr role="row">
<th role="columnheader" scope="col">Program</th>
<th role="columnheader" scope="col">State</th>
<th role="columnheader" scope="col">Memory</th>
<th role="columnheader" scope="col" class="figure">Peak</th>
<th role="columnheader" scope="col" class="figure">OOM kills</th>
<th role="columnheader" scope="col" class="figure">Restarts</th>
<th role="columnheader" scope="col" class="figure">Up</th>
<th role="columnheader" scope="col" class="does"><span class="unseen">Actions</span></th>
</tr></thead>
<tbody role="rowgroup" id="rows">
{rows}</tbody>
</table>
<p id="none"{none}>No program matches.</p>
</section>
<section aria-labelledby="events">
<h2 id="events" tabindex="-1">Recent events</h2>
<ol id="log" reversed>
{events}</ol>
<p id="quiet"{quiet}>Nothing has happened yet.</p>
</section>
</main>
<p id="news" class="unseen" role="log" aria-live="polite"></p>
<template id="row">
{row}</template>
<template id="event">
{event}</template>
"""

_DIALOGS = """\
<dialog id="ask" aria-labelledby="ask-title">
<form method="dialog">
<h2 id="ask-title"></h2>
<p id="ask-text"></p>
<p id="ask-field"><label for="ask-value" id="ask-label"></label>
<input id="ask-value" autocomplete="off" spellcheck="false" autocapitalize="off"
 aria-describedby="ask-help ask-error">
<span id="ask-help"></span></p>
<p id="ask-error" role="alert"></p>
<p class="choice"><button type="button" id="ask-no">Cancel</button>
<button type="submit" id="ask-yes"></button></p>
</form>
</dialog>
</body>
</html>
"""

_ROW = """\
<tr role="row" data-name="{name}" data-tone="{tone}">
<th role="rowheader" scope="row" class="name">{name}</th>
<td role="cell" data-label="State" class="state"><i aria-hidden="true"></i> <b>{state}</b> \
<small>{note}</small></td>
<td role="cell" data-label="Memory" class="memory"><div><b>{used}</b> <small>{limit}</small> \
<meter min="0" max="100" low="{near}" high="{full}" optimum="0" value="{percent}" \
aria-label="memory of {name}"{hidden}>{percent}%</meter> <em>{share}</em></div></td>
<td role="cell" data-label="Peak" class="figure peak">{peak}</td>
<td role="cell" data-label="OOM kills" class="figure oom"{killed}>{oom_kills}</td>
<td role="cell" data-label="Restarts" class="figure restarts"{restarted}>{restarts}</td>
<td role="cell" data-label="Up" class="figure up">{up}</td>
<td role="cell" class="does"></td>
</tr>
"""

_EVENT = """\
<li data-tone="{tone}"><time datetime="{iso}">{clock}</time> <b>{program}</b> \
<span>{text}</span></li>
"""

_EMPTY: "Row" = {
    "name": "", "state": "", "tone": "off", "note": "", "used": "", "limit": "", "percent": None,
    "peak": "", "oom_kills": 0, "restarts": 0, "since": None, "pid": None, "stops": False,
}  # fmt: skip
_NO_EVENT = {"tone": "off", "iso": "", "clock": "", "program": "", "text": ""}


def page(rows: "Iterable[Row]", events: "Iterable[dict[str, Any]]") -> str:
    """The whole page.

    Args:
        rows: of the table.
        events: the oldest first.
    """
    rows, events = list(rows), list(events)
    head = _HEAD.format(
        host=escape(socket.gethostname()),
        summary=escape(summary(rows)),
        attributes="",
        without='This is how it was when the page was loaded. <a href="">Load it again</a>',
    )
    now = time.time()
    return head + _PROGRAMS.format(
        rows="".join(_row(row, now) for row in rows),
        events="".join(_event(event) for event in reversed(events)),
        none="" if not rows else " hidden",
        quiet="" if not events else " hidden",
        row=_row(_EMPTY, now),
        event=_event(_NO_EVENT),
    ) + _DIALOGS  # fmt: skip


def locked() -> str:
    """The page for one who has not shown the token yet, where reading needs it too."""
    head = _HEAD.format(
        host="",
        summary="",
        attributes=' class="locked"',
        without='Reading needs the token here. <a href="login">Log in</a> with any user name, '
        "and the token as password.",
    )
    now = time.time()
    return head + _PROGRAMS.format(
        rows="", events="", none=" hidden", quiet=" hidden",
        row=_row(_EMPTY, now), event=_event(_NO_EVENT),
    ) + _DIALOGS  # fmt: skip


def _row(row: "Row", now: float) -> str:
    percent = row["percent"]
    texts = {name: escape(str(value)) for name, value in row.items()}
    texts |= {
        "percent": "0" if percent is None else str(percent),
        "share": "" if percent is None else f"{percent}%",
        "hidden": " hidden" if percent is None else "",
        "killed": " data-some" if row["oom_kills"] else "",
        "restarted": " data-some" if row["restarts"] else "",
        "up": "" if row["since"] is None else _age(now - row["since"]),
    }
    return _ROW.format(**texts, near=NEAR, full=FULL)


def _age(seconds: float) -> str:
    """``7s``, then as everywhere: a figure that is looked at once a second needs no tenths."""
    return f"{max(int(seconds), 0)}s" if seconds < 60 else format_duration(int(seconds))


def _event(event: "dict[str, Any]") -> str:
    return _EVENT.format(**{name: escape(str(value)) for name, value in event.items()})
