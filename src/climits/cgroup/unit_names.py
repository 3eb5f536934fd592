"""Names of systemd's units.

Source: systemd.unit(5).
"""

import os

from ..errors import InvalidValueError
from ..units import quoted
from .systemd import UNITS

_MAX_UNIT = 255
_EXAMPLES = {
    "scope": "a name of letters, digits and :-_. such as web.scope",
    "slice": "a name such as jobs.slice; jobs-a.slice is below it",
}


def escaped(name: str) -> str:
    r"""A name as a part of a unit's name: other bytes than its letters are written ``\xNN``.

    Source: systemd.unit(5), string escaping.
    """
    kept = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-"
    text = "".join(chr(b) if b in kept else f"\\x{b:02x}" for b in os.fsencode(name))
    return text[: _MAX_UNIT - len("climits-.scope")]


def check_unit(name: str, kind: str) -> str:
    """Accept the name of a unit.

    Args:
        name: as a person gave it; the kind's suffix may be left out.
        kind: scope or slice.

    Returns:
        The name with its suffix.

    Raises:
        InvalidValueError: systemd would not take it.
    """
    what = "unit" if kind == "scope" else kind
    stem = name.removesuffix(f".{kind}")
    name = f"{stem}.{kind}"
    if stem.endswith((*UNITS, ".slice")):
        raise InvalidValueError(
            f"{what}: {quoted(stem)}: of another kind", value=name, hint=f"it is a {kind}"
        )
    if not stem or escaped(stem) != stem or stem.startswith(".") or len(name) > _MAX_UNIT:
        raise InvalidValueError(
            f"{what}: {quoted(name)}: not a name", value=name, hint=_EXAMPLES[kind]
        )
    return name
