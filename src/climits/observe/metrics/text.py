"""Metrics as text: in Prometheus' format and in OpenMetrics', to a server or to a file.

prometheus-client's own writer sorts and escapes the labels of each sample: of 1,000 cgroups that
takes ten times as long as to read them.  Here the labels of a cgroup are written once.
"""

import os
import stat

from ...errors import ClimitsError, InvalidValueError
from ...linux.whole_file import write_whole
from ...units import shown
from .families import Labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

#: With which a file of ours begins.
_BEGINNING = b"# HELP climits_"
#: What a file has, and a client gets that asks for nothing else; and the other format.
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def choose_format(accept: "str | None") -> str:
    """The content type for what a client accepts: OPEN or PLAIN."""
    from prometheus_client.exposition import choose_encoder

    _, chosen = choose_encoder(accept or "")
    # It may ask how names are escaped: there is nothing to escape in ours.
    return OPEN if str(chosen).startswith("application/openmetrics-text") else PLAIN


def write(families: "Iterable[Metric]", content_type: str = PLAIN) -> bytes:
    """The text of metrics, in a format that choose_format gave."""
    is_open = content_type == OPEN
    lines: list[str] = []
    for family in families:
        name = family.name
        # Prometheus' format names a counter as its samples are named.
        called = f"{name}_total" if family.type == "counter" and not is_open else name
        text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        if is_open:
            text = text.replace('"', r"\"")
        lines.append(f"# HELP {called} {text}")
        lines.append(f"# TYPE {called} {family.type}")
        if is_open and family.unit:
            lines.append(f"# UNIT {called} {family.unit}")
        for sample in family.samples:
            labels = sample.labels
            if type(labels) is not Labels:  # of prometheus-client's own collectors
                labels = Labels(labels)
            inside = f"{{{labels.text}}}" if labels.text else ""
            lines.append(f"{sample.name}{inside} {sample.value!r}")
    lines.append("# EOF\n" if is_open else "")
    return "\n".join(lines).encode()


def write_file(path: str, content: bytes) -> None:
    """Put it into a file, all at once for whoever reads it, readable for everybody.

    Raises:
        InvalidValueError: something else is there.
        ClimitsError: it cannot be written; nothing is left behind, and what was there stays.
    """
    try:
        if not _may_be_replaced(path):
            raise InvalidValueError(
                f"textfile: {shown(path)}: there is something that is not a file of metrics",
                path=path,
                hint="name a new file, such as climits.prom, or - for standard output",
            )
        write_whole(path, content, 0o644)  # node_exporter runs as another user
    except OSError as e:
        cause = os.strerror(e.errno).lower() if e.errno else str(e)
        raise ClimitsError(
            f"cannot write the metrics: {path}: {cause}",
            path=path,
            errno=e.errno,
            hint="name a file in a directory that can be written",
        ) from None


def _may_be_replaced(path: str) -> bool:
    """Whether there is nothing, or metrics: not a device, a link or somebody's work."""
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(state.st_mode):
        return False
    with open(path, "rb") as file:
        return file.read(len(_BEGINNING)) in (b"", _BEGINNING)
