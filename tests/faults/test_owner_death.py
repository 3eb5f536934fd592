"""When climits itself is killed, nothing runs on uncontrolled, and the next start cleans up."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from support import IN_VM, PATIENCE, gone, our_cgroups, until

import climits as library
from climits.cgroup import ownership, placement
from climits.cgroup.files import Directory

MOMENTS = 10 if IN_VM else 30


def end(process):
    """SIGKILL; the pipe is not read to its end, which a straggler may hold open."""
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_program_dies_with_climits(climits, hog):
    process = subprocess.Popen(
        [climits, "run", hog, "pid", "straggler", "hold", "60000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    program, straggler = int(process.stdout.readline()), int(process.stdout.readline())
    end(process)
    until(lambda: gone(program), "the program outlived climits")
    assert not gone(straggler)  # the kernel takes the direct child only
    done = subprocess.run([climits, "gc"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "removed /climits/hog-" in done.stdout
    assert "1 killed" in done.stdout
    assert gone(straggler)
    assert our_cgroups() == []


def test_the_next_start_cleans_up(climits, hog):
    process = subprocess.Popen(
        [climits, "run", hog, "straggler", "hold", "60000"], stdout=subprocess.PIPE, text=True
    )
    straggler = int(process.stdout.readline())
    end(process)
    subprocess.run([climits, "run", "--quiet", "true"], check=True)
    assert gone(straggler)
    assert our_cgroups() == []


def test_a_name_whose_owner_died_can_be_used_again(climits, hog):
    for _ in range(2):
        process = subprocess.Popen(
            [climits, "run", "--name", "climits-again", hog, "straggler", "hold", "60000"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        straggler = int(process.stdout.readline())
        end(process)
    subprocess.run([climits, "run", "--quiet", "--name", "climits-again", "true"], check=True)
    assert gone(straggler)
    assert our_cgroups() == []


def test_killed_at_any_moment(climits, hog):
    """SIGKILL at a random moment of its life: after the next start nothing is left."""
    rng = random.Random(4927)
    for _ in range(MOMENTS):
        process = subprocess.Popen(
            [climits, "run", "--quiet", "--memory", "60M", "--pids", "20", hog, "straggler"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.random() * 0.05 * PATIENCE)
        process.kill()
        process.wait()
        subprocess.run([climits, "gc", "--quiet"], check=True)
        assert our_cgroups() == []


def test_gc_leaves_the_living_and_the_kept_alone(climits, hog):
    kept = library.run([hog, "exit", "0"], keep=True)
    with library.Process([hog, "hold", "60000"]) as p:
        done = subprocess.run([climits, "gc"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert p.poll() is None
        p.kill()
    group = library.Cgroup.open(kept.cgroup)
    group.remove()


def test_gc_leaves_what_it_did_not_make_alone(climits, layout):
    home = layout.holding("memory").directory_path(placement.HOME)
    os.makedirs(home, exist_ok=True)
    os.mkdir(f"{home}/climits-stranger")
    try:
        done = subprocess.run([climits, "gc"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert os.path.isdir(f"{home}/climits-stranger")
    finally:
        os.rmdir(f"{home}/climits-stranger")


def test_gc_judges_no_owner_of_another_pid_namespace(climits, layout):
    with library.Cgroup.create("climits-foreign") as group:
        for part in group.parts:
            part.directory.set_mark(ownership.MARK, b"999999 1 1")
        done = subprocess.run([climits, "gc"], capture_output=True, text=True)
        assert done.stdout == ""
        assert group.memory.current() >= 0


def test_the_parent_is_removed_too_when_it_was_ours(climits, layout):
    home = layout.holding("memory").directory_path(placement.HOME)
    if os.path.isdir(home):
        os.rmdir(home)
    subprocess.run([climits, "run", "--quiet", "--memory", "60M", "true"], check=True)
    assert not os.path.exists(home)


def test_a_mark_survives_only_with_its_cgroup(layout):
    with library.Cgroup.create("climits-mark") as group:
        mark = Directory(group.parts[0].directory.path).get_mark(ownership.MARK)
        assert ownership.owner_state(mark) == "alive"
        assert ownership.owner_pid(mark) == os.getpid()


def test_exit_of_the_interpreter_ends_what_was_not_waited_for(hog):
    code = (
        "import climits, sys; "
        f"p = climits.Process([{hog!r}, 'hold', '60000'], memory='60M'); print(p.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert gone(int(done.stdout))
    assert our_cgroups() == []


def test_keyboard_interrupt_ends_the_program(hog):
    code = f"import climits, sys\nclimits.run([{hog!r}, 'pid', 'hold', '60000'], memory='60M')\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    program = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20 * PATIENCE)
    assert "KeyboardInterrupt" in err
    assert gone(program)
    assert our_cgroups() == []


def test_a_keyboard_interrupt_at_any_moment_leaves_nothing():
    code = """if True:
        import climits
        try:
            print(flush=True)
            while True:
                climits.run(["/bin/true"], memory="60M")
        except KeyboardInterrupt:
            pass
    """
    rng = random.Random(60)
    for _ in range(MOMENTS):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(rng.random() * 0.1 * PATIENCE)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20 * PATIENCE)
        assert (process.returncode, err) == (0, "")
        assert our_cgroups() == []


@pytest.mark.parametrize("moment", range(3))
def test_two_at_once_may_not_have_the_same_name(climits, hog, moment):
    command = [
        climits,
        "run",
        "--quiet",
        "--name",
        "climits-race",
        hog,
        "hold",
        str(int(300 * PATIENCE)),
    ]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(p.communicate(timeout=30 * PATIENCE)[1], p.returncode) for p in both]
    assert sorted(code for _, code in ends) == [0, 125]
    assert any("in use by climits" in err for err, _ in ends)


def test_what_a_run_in_an_existing_cgroup_left_is_found_too(climits, hog):
    with library.Cgroup.create("climits-existing") as group:
        process = subprocess.Popen(
            [climits, "run", "--root", group.path, hog, "pid", "hold", "60000"],
            stdout=subprocess.PIPE,
            text=True,
        )
        program = int(process.stdout.readline())
        end(process)
        until(lambda: gone(program), "the program outlived climits")
        subprocess.run([climits, "gc", "--quiet"], check=True)
        assert all("/hog-" not in path for path in our_cgroups())
        assert group.memory.current() >= 0
