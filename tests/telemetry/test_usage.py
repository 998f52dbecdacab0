"""What processes use, read from the real /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from onemcp.telemetry import Usage, own_usage, usage_of_sessions


def test_a_program_and_all_that_it_has_started_count_together():
    script = "sleep 60 & echo started; wait"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            found = usage_of_sessions([process.pid, 2**22 + 1])
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert list(found) == [process.pid]
    assert found[process.pid].processes == 2
    assert found[process.pid].resident_bytes > 0


def test_this_process_is_known():
    own = own_usage()
    assert own is not None
    assert own.usage.processes == 1
    assert own.usage.cpu_seconds > 0
    assert own.usage.resident_bytes > 1_000_000
    assert own.open_files >= 3
    assert time.time() - 3600 * 24 < own.started <= time.time() + 2


def test_without_proc_nothing_is_known(tmp_path):
    assert own_usage(tmp_path) is None
    assert usage_of_sessions([1], tmp_path / "absent") == {}
    (tmp_path / "7").mkdir()  # has just ended
    assert usage_of_sessions([7], tmp_path) == {}
    (tmp_path / "7" / "stat").write_text(
        "7 (a) b) S 1 7 7 " + "0 " * 7 + "100 100 " + "0 " * 8 + "2"
    )
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert usage_of_sessions([7], tmp_path) == {7: Usage(200 / ticks, 2 * page, 1)}
