"""What the machine tells of processes."""

import os
import subprocess
import sys

from clinfit.machine import is_alive, peak_memory_bytes, resident_bytes


def test_a_process_lives_until_it_ends_even_where_nobody_takes_note() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid) and is_alive(os.getpid()) and is_alive(1)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is a zombie until it is waited for
    assert not is_alive(process.pid)
    process.wait()
    assert not is_alive(process.pid)


def test_the_memory_of_a_process_and_its_peak_count_nothing_of_who_started_it() -> None:
    hoard = b"x" * 300_000_000
    program = "from clinfit.machine import peak_memory_bytes; print(peak_memory_bytes())"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(child.stdout) < 150e6
    assert len(hoard) <= resident_bytes(os.getpid()) <= peak_memory_bytes()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert resident_bytes(process.pid) == 0
