import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.batch.job import Job
from climits.batch.keys import KEYS
from climits.batch.read import misfits, read_commands, read_json_lines, read_tables, read_toml
from climits.pool.budget import Budget
from climits.supervise.config import ConfigError
from climits.units import UNLIMITED

M = 1 << 20
BUDGET = Budget(1024 * M, 4.0)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """read(TEXT) is the jobs of a TOML file in the current directory."""
    monkeypatch.chdir(tmp_path)

    def read(text, **given):
        return read_toml(text.encode(), "jobs.toml", given, BUDGET)

    return read


@pytest.fixture
def wrong(read):
    """wrong(TEXT) is the list of its problems, without the name of the file."""

    def wrong(text, **given):
        with pytest.raises(ConfigError) as caught:
            read(text, **given)
        problems = caught.value.problems
        assert str(caught.value).startswith(problems[0])
        assert all(problem.startswith("jobs.toml:") for problem in problems)
        return [problem.removeprefix("jobs.toml:") for problem in problems]

    return wrong


# ---- good files ----------------------------------------------------------------------------


def test_a_job_with_all_that_it_can_have(read, tmp_path):
    (tmp_path / "sub").mkdir()
    text = """
        [job.a]
        command = ["make", "-j4", ""]
        memory = "100M"
        swap = 4096
        cpus = 1.5
        timeout = "2m"
        retries = 3
        retry_memory = 2
        retry_memory_max = "500M"
        env = { A = "1", B = "" }
        directory = "sub"
        depends_on = ["b"]
        stdout = "sub/{name}.out"
        stderr = "stdout"
        [job.b]
        command = "echo $HOME"
    """
    a, b = read(text)
    assert a == Job(
        name="a", command=["make", "-j4", ""], memory=100 * M, swap=4096, cpus=1.5, timeout=120.0,
        retries=3, retry_memory=2.0, retry_memory_max=500 * M, env={"A": "1", "B": ""},
        directory=f"{tmp_path}/sub", depends_on=["b"], stdout=f"{tmp_path}/sub/a.out",
        stderr="stdout",
    )  # fmt: skip
    assert b == Job(name="b", command=["/bin/sh", "-c", "echo $HOME"])


def test_jobs_may_be_a_list_too(read):
    jobs = read('[[job]]\ncommand="a"\n[[job]]\nname="x y"\ncommand="b"\n[[job]]\ncommand="c"\n')
    assert [(j.name, j.is_named) for j in jobs] == [("1", False), ("x y", True), ("3", False)]


def test_defaults_stand_behind_options_and_those_behind_the_job(read):
    text = """
        [defaults]
        memory = "10M"
        timeout = 5
        retries = 1
        env = { A = "file", B = "file", C = "file" }
        [job.a]
        command = "x"
        retries = 7
        env = { A = "own" }
    """
    (a,) = read(text, memory=20 * M, env={"B": "option"}, retries=3)
    assert (a.memory, a.timeout, a.retries) == (20 * M, 5.0, 7)
    assert a.env == {"A": "own", "B": "option", "C": "file"}


def test_no_limit_can_be_said(read):
    (a,) = read('[job.a]\ncommand="x"\nmemory="max"\n')
    assert a.memory == UNLIMITED


def test_a_share_of_the_memory(read):
    (a,) = read('[job.a]\ncommand="x"\nmemory="1%"\n')
    assert 0 < a.memory < 1024**4


def test_what_another_job_may_make_need_not_be_there(read, tmp_path):
    text = '[job.a]\ncommand="x"\n[job.b]\ncommand="x"\ndepends_on=["a"]\nstdout="o/b"\n'
    assert read(text + 'directory="o"\n')[1].stdout == f"{tmp_path}/o/b"


def test_a_slash_in_a_name_is_none_in_a_file(read, tmp_path):
    (a,) = read('[job."x/y"]\ncommand="x"\nstdout="{name}"\n')
    assert a.stdout == f"{tmp_path}/x_y"


def test_any_number_may_write_to_a_device(read):
    jobs = read('[defaults]\nstdout="/dev/null"\n[job.a]\ncommand="x"\n[job.b]\ncommand="x"\n')
    assert {j.stdout for j in jobs} == {"/dev/null"}


# ---- what is wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('memory = "60MB"', '60MB: MB can mean powers of 1000 or of 1024; hint: write 60M or 60MiB'
         ' for powers of 1024'),
        ('memory = "2G"', "2.0G: does not fit into the memory budget of 1.0G; hint: lower it, or "
         "raise --memory-budget"),
        ("memory = 0", "0: leaves no room for a program; hint: write it like 500M"),
        ("cpus = 5", "5: there are 4 CPUs; hint: write 4 at most"),
        ("cpus = 0", "0: out of range; hint: write the number of CPUs, such as 1.5"),
        ("timeout = 0", "0: no time at all; hint: leave it out for no time limit"),
        ('timeout = "1d"', "1d: not a duration; hint: write seconds, or a number with ms, s, m or "
         "h, like 250ms or 1.5s"),
        ("retries = -1", "-1: out of range; hint: write 0 to 1000"),
        ("retry_memory = 1", "1: must be more than 1; hint: write 1.5 for half as much again"),
        ('retry_memory_max = "9M"', "has no meaning without retry_memory; hint: add retry_memory "
         "= 2"),
        ('retry_memory_max = "9M"\nmemory = "9M"\nretry_memory = 2', "9.0M: not more than memory, "
         "which is 9.0M"),
        ("command = []", "empty; hint: name the program to run"),
        ('command = " "', "empty; hint: name the program to run"),
        ("command = 3", "3: neither text nor a list of words"),
        ('env = "A=1"', 'A=1: not a table; hint: write it like { NAME = "value" }'),
        ('depends_on = "b"', 'b: not a list; hint: write it like ["a", "b"]'),
        ('depends_on = ["aa"]', "aa: no such job; hint: did you mean a?"),
        ('directory = "nowhere"', "DIR/nowhere: no such directory"),
        ('stdout = "nowhere/x"', "DIR/nowhere: no such directory; hint: make it first"),
        ('stderr = "."', "DIR: a directory; hint: name the file in it"),
        ('needs = ["a"]', "unknown; hint: did you mean depends_on?"),
        ("retrys = 3", "unknown; hint: did you mean retries?"),
        ("zzz = 3", f"unknown; hint: a job has {', '.join(KEYS)}"),
        ('name = "b"', "b: the table says a; hint: leave it out"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_line(wrong, tmp_path, lines, problem):
    key = lines.partition(" ")[0]
    command = "" if key == "command" else '\ncommand = "x"'
    problem = problem.replace("DIR", str(tmp_path))
    assert wrong(f"[job.a]\n\n{lines}{command}\n") == [f"3: job.a.{key}: {problem}"]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["1: no job; hint: add [job.NAME]"]),
        ("[job]\n", ["1: no job; hint: add [job.NAME]"]),
        ("job = 3\n", ["1: job: 3: not a table; hint: write [job]"]),
        ("[job.a]\n", ['1: job.a: no command; hint: add command = "..."']),
        ("[job.a\n", ["1: expected ']' at the end of a table declaration"]),
        ('[jobs.a]\ncommand="x"\n', ["1: jobs: unknown; hint: did you mean job?"]),
        ('[default]\n[job.a]\ncommand="x"\n', ["1: default: unknown; hint: did you mean "
         "defaults?"]),
        ('[zzz]\n[job.a]\ncommand="x"\n', ["1: zzz: unknown; hint: the file has [defaults], and "
         "[job.NAME] or [[job]]"]),
        ('memory = 1\n[job.a]\ncommand="x"\n', ["1: memory: stands outside of a table; hint: the "
         "file has [defaults], and [job.NAME] or [[job]]"]),
        ('[defaults]\ncommand="x"\n[job.a]\ncommand="x"\n', ["2: defaults.command: has no "
         "meaning; hint: each job has its own"]),
        ('[defaults]\nmemory="2G"\n[job.a]\ncommand="x"\n[job.b]\ncommand="x"\n',
         ["2: defaults.memory: 2.0G: does not fit into the memory budget of 1.0G; hint: lower it, "
          "or raise --memory-budget"]),
        ('[[job]]\nname="a"\ncommand="x"\n[[job]]\nname="a"\ncommand="y"\n',
         ["5: job[1]: a: another job has this name"]),
        ('[job."a\\nb"]\ncommand="x"\n', ["1: job.'a\\nb': 'a\\nb': characters that cannot be "
         "shown may not stand in a name"]),
        ('[job.a]\ncommand="x"\ndepends_on=["b"]\n[job.b]\ncommand="x"\ndepends_on=["a"]\n',
         ["3: job.a.depends_on: a -> b -> a: a circle"]),
        ('[job.a]\ncommand="x"\ndepends_on=["a"]\n', ["3: job.a.depends_on: a -> a: a circle"]),
    ],
)  # fmt: skip
def test_a_wrong_file(wrong, text, problems):
    assert wrong(text) == problems


def test_two_jobs_may_not_write_into_one_file(wrong, tmp_path):
    text = '[job.a]\ncommand="x"\nstdout="o"\n[job.b]\ncommand="x"\nstderr="o"\n'
    hint = "hint: {name} in a path stands for the job's name"
    assert wrong(text) == [f"6: job.b.stderr: {tmp_path}/o: a's stdout goes there too; {hint}"]
    text = '[job.a]\ncommand="x"\nstdout="o"\nstderr="o"\n'
    hint = 'hint: write stderr = "stdout" to join them'
    assert wrong(text) == [f"4: job.a.stderr: {tmp_path}/o: a's stdout goes there too; {hint}"]


def test_a_file_that_many_write_into_is_told_once(wrong, tmp_path):
    job = '[job.{}]\ncommand="x"\nstdout="/dev/null"\nstderr="o"\n'
    (found,) = wrong("".join(map(job.format, "abc")))
    assert found.startswith(f"8: job.b.stderr: {tmp_path}/o: a's stderr goes there too; ")


def test_each_may_join_its_errors_to_a_file_of_its_own(read):
    jobs = read('[defaults]\nstderr="stdout"\nstdout="{name}"\n'
                '[job.a]\ncommand="x"\n[job.b]\ncommand="x"\n')  # fmt: skip
    assert [job.stderr for job in jobs] == ["stdout", "stdout"]


def test_what_just_fits(read):
    (job,) = read('[job.a]\ncommand="x"\nmemory="1G"\ncpus=4\n')
    assert (job.memory, job.cpus) == (1024 * M, 4)


@pytest.mark.parametrize(
    ("count", "end"),
    [(1, "out of range"), (2, " (and 1 more problem)"), (4, " (and 3 more problems)")],
)  # fmt: skip
def test_the_first_of_many_stands_for_all(read, count, end):
    text = "".join(f'[job.{n}]\ncommand="x"\nretries=-1\n' for n in range(count))
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith("jobs.toml:3: job.0.retries: -1: out of range")
    assert end in str(caught.value) and ("more" in str(caught.value)) == (count > 1)
    assert caught.value.path == "jobs.toml" and len(caught.value.problems) == count
    with pytest.raises(ConfigError) as caught:
        read("x")
    assert caught.value.path == "jobs.toml"


def test_all_problems_are_told_in_the_order_of_the_file(wrong):
    found = wrong(
        '[job.a]\ncommand=3\ncpus=9\nmemory="2G"\n[job.b]\nx=1\n[defaults]\nretries="a"\n'
    )
    assert [problem.split(":")[0] for problem in found] == ["2", "3", "4", "5", "6", "8"]


# ---- JSON lines ----------------------------------------------------------------------------


def read_json(text):
    return read_json_lines(text.encode(), "-", {"memory": 5 * M}, BUDGET)


def test_json_lines_have_the_same_keys():
    jobs = read_json('{"command": ["a"], "name": "x", "memory": "7M"}\n\n{"command": "b"}')
    assert jobs == [
        Job(name="x", command=["a"], memory=7 * M),
        Job(name="2", command=["/bin/sh", "-c", "b"], memory=5 * M, is_named=False),
    ]


def test_paths_in_json_lines_count_from_its_folder(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    data = b'{"command": "a", "stdout": "o"}'
    for path, expected in (("-", "o"), ("jobs.jsonl", "o"), ("sub/jobs.jsonl", "sub/o")):
        (job,) = read_json_lines(data, path, {}, BUDGET)
        assert job.stdout == f"{tmp_path}/{expected}"


def test_all_problems_of_json_lines_are_told():
    with pytest.raises(ConfigError) as caught:
        read_json('[}\n{"command": "a", "timeout": 0, "cpus": 0}')
    assert [problem.partition(": ")[2].partition(";")[0] for problem in caught.value.problems] == [
        "not JSON: expecting value, column 2", "job[1].timeout: 0: no time at all",
        "job[1].cpus: 0: out of range",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('{"cpus": ' + "1" * 5000 + "}", ["-:1: not JSON: exceeds the limit (4300 digits)"]),
        ("\n", ['-:1: no job; hint: write one a line: {"command": "..."}']),
        ("3", ['-:1: not a JSON object; hint: write it like {"command": "..."}']),
        ('\n{"command": "a",}', ["-:2: not JSON: "]),
        ('{"command": "a", "command": "b"}', ["-:1: command: stands there twice"]),
        ('{"comand": "a"}', ["-:1: job[0].comand: unknown; hint: did you mean command?",
         '-:1: job[0]: no command; hint: add command = "..."']),
        ('{"name": "x", "command": "a", "cpus": 9}', ["-:1: job.x.cpus: 9: there are 4 CPUs; hint: "
         "write 4 at most"]),
        ('{"name": "x", "command": "a"}\n{"name": "x", "command": "a"}',
         ["-:2: job[1]: x: another job has this name"]),
        ("[" * 100_000, ["-:1: nested too deeply"]),
    ],
)  # fmt: skip
def test_wrong_json_lines(text, problems):
    with pytest.raises(ConfigError) as caught:
        read_json(text)
    found = caught.value.problems
    assert len(found) == len(problems)
    assert all(f.startswith(p) for f, p in zip(found, problems, strict=True)), found


def test_json_that_is_no_text():
    with pytest.raises(ConfigError, match="-:2: not UTF-8: byte 0xff"):
        read_json_lines(b'{"command": "a"}\n{"command": "\xff"}', "-", {}, BUDGET)


@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["name", "command", "memory", "cpus", "env", "depends_on", "x"]), inner,
        max_size=4), max_leaves=6), max_size=3))  # fmt: skip
def test_any_json_is_read_or_refused(values):
    text = "\n".join(json.dumps(value) for value in values)
    try:
        jobs = read_json(text)
    except ConfigError as e:
        assert e.problems and all(problem.startswith("-:") for problem in e.problems)
        assert all(problem.isprintable() for problem in e.problems)
        return
    assert len(jobs) == len(values) > 0


# ---- from programs and commands ------------------------------------------------------------


def test_tables_of_a_program():
    jobs = read_tables([{"command": "a"}, {"name": "x", "command": ["b"]}], {"retries": 2}, BUDGET)
    assert [(j.name, j.retries, j.is_named) for j in jobs] == [("1", 2, False), ("x", 2, True)]
    with pytest.raises(ConfigError) as caught:
        read_tables([{"command": "a"}, {"command": 3}], {}, BUDGET)
    assert caught.value.problems == ["job[1].command: 3: neither text nor a list of words"]


def test_names_that_come_twice_get_a_number():
    commands = [("a", ["x"]), ("a", ["y"]), ("b\n", ["z"]), ("n" * 200, ["w"])]
    jobs = read_commands([*commands, ("a\\b", ["v"])], {}, BUDGET)
    names = [job.name for job in jobs]
    assert names[:3] == ["a", "a (2)", "b\\n"] and len(names[3]) == 80 and names[4] == "a\\b"
    assert {job.is_named for job in jobs} == {False}


def test_what_does_not_fit():
    job = Job(name="a", command=["x"], memory=2048 * M, cpus=9.0, retry_memory_max=4096 * M)
    found = list(misfits(job, BUDGET))
    assert [(e.path, e.value) for e in found] == [
        ("memory", 2048 * M), ("retry_memory_max", 4096 * M), ("cpus", 9.0),
    ]  # fmt: skip
    assert list(misfits(job, Budget(UNLIMITED))) == []
    assert list(misfits(Job(name="a", command=["x"], memory=UNLIMITED), BUDGET)) == []


def test_what_does_not_fit_into_a_place_of_its_own():
    class Elsewhere(Budget):
        place = "the memory of a worker:", "start larger workers"

    (e,) = misfits(Job(name="a", command=["x"], memory=2048 * M), Elsewhere(1024 * M, 4.0))
    assert str(e) == "2.0G: does not fit into the memory of a worker: 1.0G"
    assert e.hint == "start larger workers"


# ---- fingerprints --------------------------------------------------------------------------


def test_a_fingerprint_is_of_what_would_be_run():
    job = Job(name="a", command=["x"])
    same = job.replace(
        memory=5, timeout=1.0, retries=9, retry_memory=2.0, cpus=1.0, depends_on=["b"]
    )
    assert same.fingerprint() == job.fingerprint()
    changes = (
        {"name": "b"}, {"command": ["y"]}, {"env": {"A": "1"}}, {"directory": "/"},
        {"stdout": "/o"}, {"stderr": "/o"},
    )  # fmt: skip
    prints = {job.replace(**change).fingerprint() for change in changes}
    assert len(prints | {job.fingerprint()}) == 7


def test_a_name_that_was_made_up_does_not_count():
    job = Job(name="1", command=["x"], is_named=False)
    assert job.fingerprint() == job.replace(name="2").fingerprint()
    assert Job(name="\udcff", command=["\udcff"]).fingerprint()
