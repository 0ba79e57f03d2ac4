"""Set-up of the whole suite: run-time shape checks of every annotation, one thread a worker, fixed seeds."""

import multiprocessing
import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # no network look-up on import
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"  # of Lightning's calls, not ours
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("segattn", "beartype.beartype")
torch.set_num_threads(int(os.environ.get("TEST_THREADS", "1")))  # see scripts/test_matrix.sh
if "TEST_START_METHOD" in os.environ:
    multiprocessing.set_start_method(os.environ["TEST_START_METHOD"])

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tests that fork: a child cannot use the threads of its parent, and their number changes rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Turn off the run-time checks of annotations, as outside the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def shared_data() -> Path:
    """The folder of small real data that developers keep next to the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
