"""What is drawn of a recording, as arrays: thinned out, so that 100,000 samples are drawn at once.

Needs numpy, which matplotlib needs too.
"""

import numpy as np

from .words import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .reader import Trace

    Array = Any  # of numpy, whose types are not to be needed

#: A picture is some 1,000 pixels wide: the samples are put into so many buckets.
_BUCKETS = 1000
#: Rates are taken over this part of the time, and over so many seconds at the least.
_WINDOWS, _SHORTEST = 240, 0.2
#: Parts of the highest usage: from which on a kind is drawn, and what no kind accounts for.
_THIN, _REST = 0.001, 0.02


class Series:
    """The figures of one trace, seconds from when it began.

    Attributes:
        times: of the samples that are drawn.
        figures: the columns of the trace, each as long.
        span: seconds from the first to the last.
    """

    def __init__(self, trace: "Trace") -> None:
        whole = np.array(trace.times, dtype=float) - trace.began
        columns = {name: np.array(column) for name, column in trace.columns.items()}
        self._whole, self._columns = whole, columns
        chosen = _extremes(columns["current"])
        self.times = whole[chosen]
        self.figures = {name: column[chosen] for name, column in columns.items()}
        self.span = trace.ended - trace.began

    def has(self, name: str) -> bool:
        """Whether there is anything to draw of a figure."""
        return bool(np.any(self._columns[name] > 0))

    def top(self, *names: str) -> float:
        """The highest value that can be drawn of some figures; 0 where there is none."""
        values = [self._columns[name][np.isfinite(self._columns[name])] for name in names]
        return max((float(v.max()) for v in values if v.size), default=0.0)

    def stack(self) -> "dict[str, Array]":
        """What is drawn one upon the other: the kinds, and what is left of the whole."""
        whole = self.top("current", *KINDS)
        layers = {
            kind: np.nan_to_num(self.figures[kind])
            for kind in KINDS
            if self.top(kind) > _THIN * whole
        }
        current = np.nan_to_num(self.figures["current"])
        if not layers:
            return {"current": current}
        # Each is read a moment after the other: none may stand out above the whole.
        rest = np.maximum(current - sum(layers.values()), 0.0)
        if rest.max(initial=0.0) > _REST * whole:
            layers["other"] = rest
        return layers

    def rate(self, name: str) -> "tuple[Array, Array]":
        """How fast a total rises, as (edges of windows, rate in each of them); may be empty."""
        known = ~np.isnan(self._columns[name])
        times, values = self._whole[known], self._columns[name][known]
        if times.size < 2 or times[-1] <= times[0]:
            return np.array([]), np.array([])
        # A program that was started anew counts from 0 again.
        steps = np.diff(values)
        total = np.concatenate([[0.0], np.cumsum(np.where(steps < 0, values[1:], steps))])
        span = times[-1] - times[0]
        count = int(np.clip(span / max(span / _WINDOWS, _SHORTEST), 1, _WINDOWS))
        edges = np.linspace(times[0], times[-1], count + 1)
        return edges, np.diff(np.interp(edges, times, total)) / (span / count)


def _extremes(values: "Array") -> "Array":
    """Numbers of the samples to draw: of each bucket the first, the last, the lowest, the highest.

    And those that are nan, where a line is to break.
    """
    if values.size <= 4 * _BUCKETS:
        return np.arange(values.size)
    chosen = []
    for part in np.array_split(np.arange(values.size), _BUCKETS):
        own = values[part]
        chosen += [part[0], part[-1]]
        missing = np.flatnonzero(np.isnan(own))
        chosen += [part[missing[0]], part[missing[-1]]] if missing.size else []
        if missing.size < own.size:
            chosen += [part[np.nanargmin(own)], part[np.nanargmax(own)]]
    return np.unique(chosen)
