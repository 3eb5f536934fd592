import math
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from climits.errors import InvalidValueError
from climits.units import (
    MAX_BYTES,
    PAGE_SIZE,
    UNLIMITED,
    cut,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    printable,
    round_to_pages,
    whole_number,
)
from climits.units import shown as shown_in_errors

K, M, G, T = 1024, 1024**2, 1024**3, 1024**4

ANY_TEXT = st.one_of(st.text(), st.text("0123456789.%+-eEKMGTiBbkmsh xn\n_\u0661", max_size=12))


def shown(text):
    """How an error shows what was given: on one line, whatever is in it, and not all of it."""
    text = str(text)
    if len(text) > 300:
        text = f"{text[:260]}...{text[-37:]}"
    return text if text.isprintable() else repr(text)


# ---- sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1", 1),
        ("007", 7),
        ("60M", 60 * M),
        ("60MiB", 60 * M),
        ("1K", K),
        ("1KiB", K),
        ("2G", 2 * G),
        ("2GiB", 2 * G),
        ("1T", T),
        ("1TiB", T),
        ("1.5G", 3 * G // 2),
        (".5K", 512),
        ("5.K", 5 * K),
        ("0.1T", T // 10),
        ("0.1G", G // 10),
        ("1.7", 1),
        ("0.9", 0),
        ("12345", 12345),
        pytest.param("0" * 5000 + "5", 5, id="leading zeros"),
        pytest.param("1." + "0" * 5000 + "9K", K, id="long fraction"),
        (str(MAX_BYTES - 1), MAX_BYTES - 1),
        ("8388607T", 8388607 * T),
        ("max", UNLIMITED),
        (0, 0),
        (4096, 4096),
        (MAX_BYTES - 1, MAX_BYTES - 1),
        (UNLIMITED, UNLIMITED),
        (float("inf"), UNLIMITED),
    ],
)
def test_a_size_is_read_exactly(text, value):
    assert parse_size(text) == value
    assert isinstance(parse_size(text), int) or value == UNLIMITED


@pytest.mark.parametrize(
    ("text", "whole", "value"),
    [
        ("50%", 1000, 500),
        ("0%", 1000, 0),
        ("100%", 1001, 1001),
        ("33.3%", 1000, 333),
        ("0.1%", 10 * G, 10 * G // 1000),
        ("200%", 1000, 2000),
        (".5%", 1000, 5),
    ],
)
def test_a_percentage_is_of_the_whole(text, whole, value):
    assert parse_size(text, whole=whole) == value


NOT_A_SIZE, NEGATIVE, TOO_MUCH = "not a size", "cannot be negative", "more than the kernel can hold"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("60MB", "MB can mean powers of 1000 or of 1024"),
        ("1.5GB", "GB can mean powers of 1000 or of 1024"),
        ("5kb", "KB can mean powers of 1000 or of 1024"),
        ("5tB", "TB can mean powers of 1000 or of 1024"),
        ("5KIB", "unknown unit KIB"),
        ("5kib", "unknown unit kib"),
        ("5k", "unknown unit k"),
        ("5iB", "unknown unit iB"),
        ("5B", "unknown unit B"),
        ("5b", "unknown unit b"),
        ("5P", "unknown unit P"),
        ("8E", "unknown unit E"),
        ("5KK", "unknown unit KK"),
        ("5%%", "unknown unit %%"),
        ("5KiBiB", "unknown unit KiBiB"),
        ("5e", "unknown unit e"),
        ("-1", NEGATIVE),
        ("-1M", NEGATIVE),
        ("-1MB", NEGATIVE),
        (-1, NEGATIVE),
        ("1e400", NOT_A_SIZE),
        ("1e3", NOT_A_SIZE),
        ("0x10", NOT_A_SIZE),
        ("1_000", NOT_A_SIZE),
        ("1,5G", NOT_A_SIZE),
        ("+5M", NOT_A_SIZE),
        ("--5", NOT_A_SIZE),
        ("nan", NOT_A_SIZE),
        ("inf", NOT_A_SIZE),
        ("-inf", NOT_A_SIZE),
        ("MAX", NOT_A_SIZE),
        ("unlimited", NOT_A_SIZE),
        ("M", NOT_A_SIZE),
        ("%", NOT_A_SIZE),
        (".", NOT_A_SIZE),
        ("-", NOT_A_SIZE),
        ("-.", NOT_A_SIZE),
        ("1..5", NOT_A_SIZE),
        ("1.5.2", NOT_A_SIZE),
        ("\u0665M", NOT_A_SIZE),  # Arabic-Indic five
        ("\uff15M", NOT_A_SIZE),  # full-width five
        ("\u00b2", NOT_A_SIZE),  # superscript two: isdigit() is true of it
        ("\u2160", NOT_A_SIZE),  # Roman numeral one
        ("5\u0000M", NOT_A_SIZE),
        ("", "empty"),
        ("   ", "empty"),
        (" 5M", "no space may stand in a size"),
        ("5 M", "no space may stand in a size"),
        ("10 %", "no space may stand in a size"),
        ("5M ", NOT_A_SIZE),
        ("10%", "a percentage has no meaning here"),
        ("18446744073709551616", TOO_MUCH),
        ("18446744073709551615", TOO_MUCH),
        ("9223372036854771712", TOO_MUCH),
        ("9223372036854775807", TOO_MUCH),
        ("8388608T", TOO_MUCH),
        pytest.param("9" * 5000, TOO_MUCH, id="5000 digits"),
        pytest.param("9" * 5000 + "T", TOO_MUCH, id="5000 digits T"),
        (MAX_BYTES, TOO_MUCH),
        (2**64, TOO_MUCH),
        (None, NOT_A_SIZE),
        (True, NOT_A_SIZE),
        (False, NOT_A_SIZE),
        (1.5, NOT_A_SIZE),
        (float("nan"), NOT_A_SIZE),
        (b"5M", NOT_A_SIZE),
        ([], NOT_A_SIZE),
    ],
)
def test_a_bad_size_is_refused_with_its_cause(text, cause):
    with pytest.raises(InvalidValueError) as caught:
        parse_size(text, what="--memory")
    error = caught.value
    given = text if isinstance(text, str) or type(text) is int else repr(text)
    said = f"--memory: {shown(given)}: " if given != "" else "--memory: "
    more = " (8E)" if cause == TOO_MUCH else ""
    what = "a size " if cause == NEGATIVE else ""
    assert str(error) == f"{said}{what}{cause}{more}"
    assert error.hint


HELP = "write bytes, or a number with K, M, G or T (powers of 1024), like 60M or 1.5G"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("60MB", "write 60M or 60MiB for powers of 1024"),
        ("1.5kb", "write 1.5K or 1.5KiB for powers of 1024"),
        ("5k", "write 5K"),
        ("5kib", "write 5K"),
        ("5KIB", "write 5K"),
        ("-1", "for no limit write max"),
        (-1, "for no limit write max"),
        ("5KK", HELP),
        ("5B", HELP),
        ("5%%", HELP),
        ("18446744073709551616", "for no limit write max"),
    ],
)
def test_the_hint_says_what_to_write(text, hint):
    with pytest.raises(InvalidValueError) as caught:
        parse_size(text)
    assert caught.value.hint == hint
    assert caught.value.value == text


def test_a_percentage_beyond_the_kernels_range_is_refused():
    with pytest.raises(InvalidValueError, match="more than the kernel can hold"):
        parse_size("1000000%", whole=MAX_BYTES - 1)


@given(ANY_TEXT)
def test_any_text_is_a_size_or_an_invalid_value(text):
    try:
        value = parse_size(text, what="x", whole=10 * G)
    except InvalidValueError as e:
        assert shown(text) in str(e) and str(e).startswith("x: ")
    else:
        assert value == UNLIMITED or (isinstance(value, int) and 0 <= value < MAX_BYTES)


@pytest.mark.parametrize("parse", [parse_size, parse_duration])
@pytest.mark.parametrize("text", ["5\nM", "5M\n", "a\rb", "\x1b[31m5"])
def test_the_error_is_one_line_whatever_the_text_holds(parse, text):
    with pytest.raises(InvalidValueError) as caught:
        parse(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("parse", [parse_size, parse_duration])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_huge_int_is_an_invalid_value(parse, sign):
    with pytest.raises(InvalidValueError) as caught:
        parse(sign * 10**5000)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 100


@given(st.integers(0, MAX_BYTES - 1))
def test_a_plain_number_is_itself(size):
    assert parse_size(str(size)) == parse_size(size) == size


@given(st.integers(0, 8388607), st.sampled_from("KMGT"), st.sampled_from(["", "iB"]))
def test_a_unit_is_a_power_of_1024(number, letter, suffix):
    assert parse_size(f"{number}{letter}{suffix}") == number * 1024 ** (1 + "KMGT".index(letter))


@given(st.integers(0, 999), st.integers(0, 10**9), st.sampled_from("KMGT"))
def test_a_fraction_is_exact(whole, fraction, letter):
    digits = f"{fraction:09d}"
    factor = 1024 ** (1 + "KMGT".index(letter))
    expected = int(f"{whole}{digits}") * factor // 10 ** len(digits)
    assert parse_size(f"{whole}.{digits}{letter}") == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "?"),
        (UNLIMITED, "max"),
        (0, "0"),
        (812, "812"),
        (1023, "1023"),
        (1024, "1.0K"),
        (60 * M, "60.0M"),
        (3 * G // 2, "1.5G"),
        (1023 * K, "1023.0K"),
        (1024 * K - 52, "1023.9K"),
        (1024 * K - 51, "1.0M"),
        (M - 1, "1.0M"),
        (G - 1, "1.0G"),
        (T, "1.0T"),
        (5000 * T, "5000.0T"),
    ],
)
def test_format_size(size, text):
    assert format_size(size) == text


@given(st.integers(0, 2**62))
@example(1023)
@example(1024 * K - 51)
def test_what_is_shown_of_a_size_can_be_read_again(size):
    again = parse_size(format_size(size))
    assert abs(again - size) <= (size * 0.05 / 0.95 if size >= 1024 else 0)


@given(st.integers(0, MAX_BYTES - 1), st.integers(0, MAX_BYTES - 1))
def test_a_larger_size_never_looks_smaller(a, b):
    small, large = sorted((a, b))
    shown = [parse_size(format_size(s)) if s < 2**62 else s for s in (small, large)]
    assert shown[0] <= shown[1] or large - small < large * 0.06


@pytest.mark.parametrize(
    ("size", "rounded"),
    [
        (0, 0),
        (1, 0),
        (PAGE_SIZE - 1, 0),
        (PAGE_SIZE, PAGE_SIZE),
        (PAGE_SIZE + 1, PAGE_SIZE),
        (12345, 12345 - 12345 % PAGE_SIZE),
        (UNLIMITED, UNLIMITED),
    ],
)
def test_round_to_pages(size, rounded):
    assert round_to_pages(size) == rounded


def test_the_largest_size_is_the_kernels():
    assert MAX_BYTES == (2**63 - 1) // PAGE_SIZE * PAGE_SIZE  # PAGE_COUNTER_MAX


def test_no_limit_is_larger_than_every_size():
    assert MAX_BYTES < UNLIMITED and math.isinf(UNLIMITED)
    assert pickle.loads(pickle.dumps(UNLIMITED)) == UNLIMITED


# ---- text that is shown, and digits ----------------------------------------------------------


def test_a_long_text_loses_its_middle():
    long = "".join(chr(33 + n % 90) for n in range(301))
    assert cut(long[:300]) == long[:300]
    assert cut(long) == f"{long[:260]}...{long[-37:]}"
    assert cut(long[:51], 50) == f"{long[:10]}...{long[14:51]}"
    assert len(cut("x" * 999, 80)) == 80


def test_what_a_terminal_would_act_upon_is_escaped():
    assert printable("caf\u00e9 \\x") == "caf\u00e9 \\x"
    assert printable("a\x1b[31mb\n\u2028\u00e9") == "a\\x1b[31mb\\n\\u2028\u00e9"


@given(st.text())
def test_what_is_printable_can_be_printed(text):
    assert printable(text).isprintable()


def test_of_a_huge_number_its_length_is_shown():
    assert shown_in_errors(2**128 - 1) == str(2**128 - 1)
    assert shown_in_errors(2**128) == "an integer of 129 bits"


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), (b"12", 12), ("9" * 20, 10**20 - 1), ("9" * 21, None), ("", None),
     ("\u00b2", None), ("\u0665", None), ("-1", None), ("+1", None), (" 1", None), ("1_0", None),
     (b"\xb2", None), (b"", None)],
)  # fmt: skip
def test_a_whole_number_is_of_plain_digits(text, number):
    assert whole_number(text) == number


# ---- durations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10.0),
        ("0", 0.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        (3, 3.0),
        (0.25, 0.25),
        (0, 0.0),
        (100 * 365 * 86400, 100 * 365 * 86400.0),
    ],
)
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)
    assert isinstance(parse_duration(text), float)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        (" 5s", "not a duration"),
        ("5 s", "not a duration"),
        ("5d", "not a duration"),
        ("5S", "not a duration"),
        ("5sm", "not a duration"),
        ("5mss", "not a duration"),
        ("s", "not a duration"),
        (".", "not a duration"),
        ("1..5", "not a duration"),
        ("1m30s", "not a duration"),
        ("1:30", "not a duration"),
        ("-1", "not a duration"),
        ("-1s", "not a duration"),
        ("1e3", "not a duration"),
        ("nan", "not a duration"),
        ("inf", "not a duration"),
        ("max", "not a duration"),
        ("\u0665s", "not a duration"),
        (-1, "a duration cannot be negative"),
        (-0.001, "a duration cannot be negative"),
        (None, "not a duration"),
        (True, "not a duration"),
        (float("nan"), "not a duration"),
        (b"5s", "not a duration"),
        (float("inf"), "longer than 100 years"),
        ("900000h", "longer than 100 years"),
        pytest.param("9" * 400, "longer than 100 years", id="400 digits"),
        (100 * 365 * 86400 + 1, "longer than 100 years"),
    ],
)
def test_a_bad_duration_is_refused_with_its_cause(text, cause):
    with pytest.raises(InvalidValueError) as caught:
        parse_duration(text, what="--timeout")
    given = text if isinstance(text, str) or "not a" not in cause else repr(text)
    assert str(caught.value) == (
        f"--timeout: {shown(given)}: {cause}" if text != "" else "--timeout: empty"
    )
    too_long = "longer" in cause
    assert caught.value.hint == (
        "leave it out for no time limit"
        if too_long
        else "write seconds, or a number with ms, s, m or h, like 250ms or 1.5s"
    )


def test_what_is_wrong_has_a_name_even_if_nobody_gave_one():
    with pytest.raises(InvalidValueError, match=r"^size: x: not a size$"):
        parse_size("x")
    with pytest.raises(InvalidValueError, match=r"^duration: x: not a duration$"):
        parse_duration("x")


@pytest.mark.parametrize("number", [2**200, 10**400, float(10**300)])
def test_a_huge_number_of_seconds_keeps_its_sign(number):
    with pytest.raises(InvalidValueError, match="longer than 100 years"):
        parse_duration(number)
    with pytest.raises(InvalidValueError, match="a duration cannot be negative"):
        parse_duration(-number)


@given(ANY_TEXT)
def test_any_text_is_a_duration_or_an_invalid_value(text):
    try:
        seconds = parse_duration(text, what="x")
    except InvalidValueError as e:
        assert shown(text) in str(e)
    else:
        assert 0.0 <= seconds <= 100 * 365 * 86400


@given(st.floats())
def test_any_float_is_a_duration_or_an_invalid_value(seconds):
    try:
        assert parse_duration(seconds) == seconds
    except InvalidValueError:
        assert not 0 <= seconds <= 100 * 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0029, "3ms"),
        (0.9994, "999ms"),
        (0.9995, "1.0s"),
        (0.9996, "1.0s"),
        (2.1, "2.1s"),
        (59.94, "59.9s"),
        (59.95, "1m00s"),
        (59.96, "1m00s"),
        (90, "1m30s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7500, "2h05m"),
        (90000, "25h00m"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 59.9))
def test_what_is_shown_of_a_short_duration_can_be_read_again(seconds):
    again = parse_duration(format_duration(seconds))
    assert again == pytest.approx(seconds, abs=0.0006 if seconds < 0.9995 else 0.051)
