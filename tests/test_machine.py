"""What the machine tells of processes."""

import os
import subprocess
import sys

from clinfit.machine import is_alive


def test_a_process_lives_until_it_ends_even_where_nobody_takes_note() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid) and is_alive(os.getpid()) and is_alive(1)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is a zombie until it is waited for
    assert not is_alive(process.pid)
    process.wait()
    assert not is_alive(process.pid)
