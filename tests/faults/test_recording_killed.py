"""A recording whose climits is killed at any moment can be read as far as it came."""

import random
import subprocess
import time

import pytest
from support import IN_VM, PATIENCE, until

from climits.errors import ClimitsError
from climits.observe.recordings.plot import Look, plot
from climits.observe.recordings.reader import read_recording

MOMENTS = 2 if IN_VM else 6


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_what_was_written_before_can_be_read(climits, hog, tmp_path, moment):
    path = str(tmp_path / "app.jsonl")
    words = ["run", "--memory", "60M", "--record", path, "--", hog, "grow", "50", "10",
             "hold", "60000"]  # fmt: skip
    command = subprocess.Popen([climits, *words], stderr=subprocess.DEVNULL)
    try:
        until(lambda: _lines(path) > 2)
        time.sleep(random.Random(moment).random() * 0.6 * PATIENCE)
        while_it_ran = read_recording(path)
    finally:
        command.kill()
        command.wait()
        subprocess.run([climits, "gc"], check=True, stdout=subprocess.DEVNULL)
    recording = read_recording(path)
    assert while_it_ran.written and not recording.written
    assert recording.lines >= while_it_ran.lines > 2
    assert "it has no end: climits was killed" in recording.note()
    assert plot(recording.traces[0], Look())


def _lines(path):
    try:
        return read_recording(path).lines
    except ClimitsError:
        return 0
