import os
import subprocess
import sys

import pytest

from segattn.data import workers

V1 = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({V1[0]: "50000\n", V1[1]: "100000\n"}, 1),
        ({V1[0]: "-1\n", V1[1]: "100000\n"}, 8),
        ({"cpu.max": "damaged\n"}, 8),
    ],
)
def test_cores_are_limited_by_the_cpu_time_of_the_container(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(workers, "available_core_ids", lambda: set(range(8)))
    monkeypatch.setattr(workers, "CGROUPS", tmp_path)
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert workers.available_cores() == cores


FAULTS = """
import resource
import numpy as np
from segattn.data.workers import keep_freed_memory
{}
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(20 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = fill()
print(fill() / first)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is an option of glibc")
@pytest.mark.parametrize("call", ["", "keep_freed_memory()"])
def test_freed_memory_is_kept(call):
    if not os.confstr("CS_GNU_LIBC_VERSION"):
        pytest.skip("mallopt is an option of glibc")
    run = subprocess.run([sys.executable, "-c", FAULTS.format(call)], capture_output=True, text=True, check=True)
    assert (float(run.stdout) < 0.1) == bool(call)
