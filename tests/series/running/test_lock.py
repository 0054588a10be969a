import os
import subprocess
import sys
import threading

import pytest

from medsr_lib.series.running import lock

HOLD = """
import sys, time
from pathlib import Path
from medsr_lib.series.running import lock
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_holds_a_folder_is_said_and_a_dead_holders_lock_is_free(tmp_path, other):
    said = rf"in use by process {other.pid} on \S+ since 20\S+ \(-c {tmp_path}\).*another --out"
    with pytest.raises(ValueError, match=said), lock.hold(tmp_path):
        pass
    (tmp_path / lock.HOLDER).write_text("[")  # a damaged note hides the name only
    with pytest.raises(ValueError, match="in use by another process"), lock.hold(tmp_path):
        pass
    other.kill()
    other.wait()
    with lock.hold(tmp_path):
        assert f'"pid": {os.getpid()}' in (tmp_path / lock.HOLDER).read_text()


def test_a_thread_may_hold_a_folder_twice_and_another_may_not(tmp_path):
    refused = []

    def second():
        try:
            with lock.hold(tmp_path):
                pass
        except ValueError as error:
            refused.append(str(error))

    with lock.hold(tmp_path / "." / "new" / ".."):
        with lock.hold(tmp_path):
            pass
        assert (tmp_path / lock.HOLDER).is_file()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert not (tmp_path / lock.HOLDER).exists()
