"""Sizes and durations: text to numbers and back.

Nothing a person wrote ever reaches the kernel's own parser, which silently turns
18446744073709551616 into 0.  Written without `re`, which costs 4 ms of start-up.

Source: mm/page_counter.c (page_counter_memparse), lib/cmdline.c (memparse).
"""

import os

from .errors import InvalidValueError

#: "No limit", as a number that is larger than every other.
UNLIMITED = float("inf")

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

#: The kernel's largest number of bytes, which is how it writes "no limit" on v1.
MAX_BYTES = (2**63 - 1) // PAGE_SIZE * PAGE_SIZE

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE_HELP = "write bytes, or a number with K, M, G or T (powers of 1024), like 60M or 1.5G"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_HELP = "write seconds, or a number with ms, s, m or h, like 250ms or 1.5s"


def parse_size(
    text: "str | int | float", *, what: str = "size", whole: "int | None" = None
) -> "int | float":
    """Read a size.

    Args:
        text: an int is bytes; text is a decimal number followed by nothing, K, M, G, T, KiB, MiB,
            GiB or TiB (powers of 1024), or by % of `whole`; ``max`` is no limit.
        what: how to call it in an error, such as ``--memory``.
        whole: what ``%`` is of, in bytes; None refuses ``%``.

    Returns:
        Bytes, or UNLIMITED.

    Raises:
        InvalidValueError: the text is not a size, or the size is beyond what the kernel can hold.
    """
    if isinstance(text, str):
        value = _read_size(text, what, whole)
    elif text == UNLIMITED or (isinstance(text, int) and not isinstance(text, bool)):
        value = text
    else:
        raise _bad(what, repr(text), "not a size", hint=_SIZE_HELP)
    if value == UNLIMITED:
        return UNLIMITED
    if value < 0:
        raise _bad(what, text, "a size cannot be negative", hint="for no limit write max")
    if value >= MAX_BYTES:
        raise _bad(what, text, "more than the kernel can hold (8E)", hint="for no limit write max")
    return value


def _read_size(text: str, what: str, whole: "int | None") -> "int | float":
    if text == "max":
        return UNLIMITED
    number = text.rstrip("%BIKMGTPEZYbikmgtpezy")
    unit = text[len(number) :]
    negative = number.startswith("-")
    digits = number[1:] if negative else number
    if not _is_decimal(digits):
        cause = "empty" if not text.strip() else "not a size"
        if digits.strip() != digits and _is_decimal(digits.strip()):
            cause = "no space may stand in a size"
        raise _bad(what, text, cause, hint=_SIZE_HELP)
    if negative:
        raise _bad(what, text, "a size cannot be negative", hint="for no limit write max")
    if unit == "%":
        if whole is None:
            raise _bad(what, text, "a percentage has no meaning here", hint=_SIZE_HELP)
        return _scale(digits, whole) // 100
    power = _POWERS.get(unit.removesuffix("iB")) if unit != "iB" else None
    if power is None:
        raise _bad_unit(what, text, number, unit)
    return _scale(digits, 1024**power)


def _bad_unit(what: str, text: str, number: str, unit: str) -> InvalidValueError:
    letter = unit[:1].upper()
    if letter in "KMGT" and unit.upper() == letter + "B":
        cause = f"{letter}B can mean powers of 1000 or of 1024"
        return _bad(
            what,
            text,
            cause,
            hint=f"write {number}{letter} or {number}{letter}iB for powers of 1024",
        )
    if letter in "KMGT" and unit.upper() in (letter, letter + "IB"):
        return _bad(what, text, f"unknown unit {unit}", hint=f"write {number}{letter}")
    return _bad(what, text, f"unknown unit {unit}", hint=_SIZE_HELP)


def _is_decimal(text: str) -> bool:
    """True of 12, 1.5 and .5; exponents, signs, spaces and other scripts' digits are not sizes."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    return digits.isascii() and digits.isdigit()


def whole_number(text: "str | bytes") -> "int | None":
    """The number that ASCII digits alone make; None for other text.

    str.isdigit() takes digits that int() does not, and int() no more than 4300 of them.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _scale(digits: str, factor: int) -> int:
    """The decimal number times `factor`, rounded down, without floats: 0.1T is exact."""
    whole, _, fraction = digits.partition(".")
    if len(digits) > 40:  # beyond any size, and int() refuses 4300 digits
        whole = whole.lstrip("0")
        if len(whole) > 40:
            return MAX_BYTES + 1
        fraction = fraction[:40]
    scaled: int = int((whole or "0") + fraction) * factor // 10 ** len(fraction)
    return scaled


def _bad(what: str, value: object, cause: str, *, hint: str) -> InvalidValueError:
    text = shown(value)
    return InvalidValueError(
        f"{what}: {text}: {cause}" if text else f"{what}: {cause}", value=value, hint=hint
    )


def shown(value: object) -> str:
    """What was given, on one line."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"  # str() refuses 4300 digits
    text = str(value)
    return cut(text) if text.isprintable() else quoted(text)


def quoted(text: str) -> str:
    """What was given, in quotes, on one line, and cut where nobody reads on."""
    return repr(cut(text))


def printable(text: str) -> str:
    """The text with what a terminal would act upon, or cannot show, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, most: int = 300) -> str:
    """The text, without its middle where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 40]}...{text[-37:]}"


def round_to_pages(size: "int | float") -> "int | float":
    """The size rounded down to whole pages, as the kernel does; UNLIMITED stays."""
    return size if size == UNLIMITED else int(size) // PAGE_SIZE * PAGE_SIZE


def format_size(size: "int | float | None") -> str:
    """Bytes for people: ``812``, ``60.0M``, ``1.5G``, ``max``; ``?`` where nothing was reported."""
    if size is None:
        return "?"
    if size == UNLIMITED:
        return "max"
    value = float(size)
    for unit in ("", "K", "M", "G", "T"):
        if value < 1023.95 or unit == "T":
            return f"{value:.1f}{unit}" if unit else str(int(size))
        value /= 1024
    raise AssertionError("the loop returns at T")


def parse_duration(text: "str | int | float", *, what: str = "duration") -> float:
    """Read a duration.

    Args:
        text: a number is seconds; text is a decimal number followed by nothing, ms, s, m or h.
        what: how to call it in an error, such as ``--timeout``.

    Returns:
        Seconds.

    Raises:
        InvalidValueError: not a duration, negative, or longer than 100 years.
    """
    if isinstance(text, str):
        number = text.rstrip("msh")
        factor = _SECONDS.get(text[len(number) :] or "s")
        if factor is None or not _is_decimal(number):
            raise _bad(what, text, "not a duration" if text else "empty", hint=_DURATION_HELP)
        seconds = float(number) * factor
    elif isinstance(text, (int, float)) and not isinstance(text, bool) and text == text:
        # Beyond 2**128 is too long or too negative anyway, and float() cannot hold all of it.
        seconds = float(max(min(text, 1 << 128), -1 << 128))
    else:
        raise _bad(what, repr(text), "not a duration", hint=_DURATION_HELP)
    if seconds < 0:
        raise _bad(what, text, "a duration cannot be negative", hint=_DURATION_HELP)
    if seconds > 100 * 365 * 86400:
        raise _bad(what, text, "longer than 100 years", hint="leave it out for no time limit")
    return seconds


def format_duration(seconds: float) -> str:
    """Seconds for people: ``3ms``, ``2.1s``, ``1m30s``, ``2h05m``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
