import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from climits.batch.template import Template, commands_of, lines_of
from climits.errors import InvalidValueError

# ---- lines ---------------------------------------------------------------------------------


def test_values_are_lines_and_any_bytes_but_the_end():
    assert lines_of(b"a\n\n b \nc\r\n\xff\n#x") == ["a", " b ", "c\r", "\udcff", "#x"]
    assert lines_of(b"") == []


def test_values_may_end_in_nul():
    assert lines_of(b"a\nb\0\0c\0", null=True) == ["a\nb", "c"]


def test_commands_are_lines_that_are_no_comments():
    assert commands_of(b"\n  echo a \n# no\n  #no\necho b # c", "-") == ["echo a", "echo b # c"]


def test_a_nul_byte_among_commands_is_refused():
    with pytest.raises(InvalidValueError) as caught:
        commands_of(b"echo\n\necho \0\n\0\n", "jobs.txt")
    assert str(caught.value) == "jobs.txt:3: a NUL byte may not stand in a command"


# ---- places --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "filled"),
    [
        ("{}", "a/b.txt", "a/b.txt"),
        ("{.}", "a/b.txt", "a/b"),
        ("{.}", "a.d/b", "a.d/b"),
        ("{.}", ".bashrc", ".bashrc"),
        ("{.}", "a/.rc", "a/.rc"),
        ("{.}", "x.tar.gz", "x.tar"),
        ("{/}", "a/b.txt", "b.txt"),
        ("{/}", "a/b/", "b"),
        ("{/}", "a/b/X", "X"),
        ("{/}", "b", "b"),
        ("{/}", "/", "/"),
        ("{#}", "a", "7"),
        ("{{}}", "a", "{a}"),
        ("{x}", "a", "{x}"),
        ("${#}", "a", "${#}"),
        ("x{}y{.}z", "p.q", "xp.qypz"),
    ],
)
def test_places_in_words_are_filled(place, value, filled):
    assert Template(["run", place, "{}"]).fill(value, 7) == ["run", filled, value]


def test_without_a_place_the_value_comes_last():
    assert Template(["gzip", "-9"]).fill("a b", 1) == ["gzip", "-9", "a b"]
    assert Template("gzip -9").fill("a b", 1) == ["/bin/sh", "-c", "gzip -9 'a b'"]


def test_in_words_nothing_is_quoted():
    assert Template(["echo", "$(id) {}"]).fill("'; x", 1) == ["echo", "$(id) '; x"]


def test_a_backslash_before_a_place_makes_it_none():
    assert Template(r"find {} -exec rm \{} +").fill("d", 1)[2] == r"find d -exec rm \{} +"


# ---- the shell -----------------------------------------------------------------------------

#: Commands that print the value and nothing else, wherever it stands.
PRINTING = [
    "printf %s {}",
    'printf %s "{}"',
    "printf %s '{}'",
    'printf %s "$(printf %s {}; printf .)" | head -c -1',
    "printf %s \"$(printf %s '{}'; printf .)\" | head -c -1",
    'printf %s "$(printf %s "{}"; printf .)" | head -c -1',
    '(printf %s "$( (printf %s {}); printf .)" | head -c -1)',
    "printf '' '\"' \"'\" \\' \\\"; printf %s {}",
    "printf '' a#b; printf %s {} # it's nothing",
    "printf %s \"\"''{}",
    # What is around a place must have been left again, and a state not entered, at the right byte.
    "printf '' {} {}; printf %s {}",
    "printf '' '\\'; printf %s {}",
    "printf '' \\a'b'; printf %s {}",
    "printf '' $'a'; printf %s {}",
    'printf %s "$(true){}"',
    'printf %s "$( (true); printf %s {}; printf .)" | head -c -1',
    "printf '' a# X#b X; printf %s {}",
    "true # \\\nprintf %s {}",
]

nasty = st.text(st.sampled_from("ab'\"`$(){}\\ \n#;&|<>*?!~-/.\t\u00e9"), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(nasty, st.sampled_from(PRINTING))
@example("$(touch /nonexistent/x)", 'printf %s "{}"')
@example("'; echo no; '", "printf %s '{}'")
@example("a\\", 'printf %s "{}"')
def test_a_value_is_data_wherever_it_stands(value, command):
    argv = Template(command).fill(value, 1)
    done = subprocess.run(argv, capture_output=True)
    assert (done.stdout.decode(), done.returncode) == (value, 0)


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        ("echo `cat {}`", "{} cannot stand in backticks; write $(...)"),
        ('echo "`cat {.}`"', "{.} cannot stand in backticks; write $(...)"),
        ("echo $'{}'", "{} cannot stand in $'...'"),
        ("echo a # {}", "{} cannot stand in a comment"),
        ("# {/}", "{/} cannot stand in a comment"),
        ('echo "$(case x in x) echo;; esac; echo {})"',
         "values cannot be put into a command with case in $(...), or with <<"),
        ("cat <<E\n{}\nE", "values cannot be put into a command with case in $(...), or with <<"),
    ],
)  # fmt: skip
def test_where_no_value_can_be_quoted_none_may_stand(command, cause):
    with pytest.raises(InvalidValueError) as caught:
        Template(command)
    assert str(caught.value).endswith(f": {cause}")
    assert caught.value.hint == "put it into a script: ./script {}"


def test_behind_a_comment_a_value_may_stand_again():
    assert Template("echo a # it's\necho {}").fill("x y", 1)[2] == "echo a # it's\necho 'x y'"


@given(st.text(), st.text(min_size=1))
def test_any_text_is_read_or_refused(command, value):
    try:
        template = Template(command)
    except InvalidValueError:
        return
    assert template.fill(value, 1)[:2] == ["/bin/sh", "-c"]
