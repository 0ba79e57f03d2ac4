"""Folders of runs: each run has its own, also when several start at the same time."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from segattn.training.run_folders import claim_folder


def claim_ten(root):
    return [claim_folder(root) for _ in range(10)]


def test_processes_that_start_together_claim_different_folders(tmp_path):
    root = tmp_path / "runs" / "name"
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        claimed = [folder for folders in pool.map(claim_ten, [root] * 4) for folder in folders]
    assert sorted(path.name for path in claimed) == sorted(f"version_{number}" for number in range(40))
    assert set(root.iterdir()) == set(claimed)


def test_the_next_version_follows_the_highest_one(tmp_path):
    for name in ("version_2", "version_10", "version_x"):
        (tmp_path / name).mkdir()
    assert claim_folder(tmp_path) == tmp_path / "version_11"


@pytest.mark.parametrize("rank", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"])
def test_only_the_first_process_of_a_run_creates_its_folder(tmp_path, monkeypatch, rank):
    monkeypatch.setenv(rank, "1")
    claim_folder(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(rank, "0")
    assert claim_folder(tmp_path).is_dir()


def test_a_folder_that_another_run_creates_at_the_same_moment_is_not_shared(tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def after_the_other_run(path, *arguments, **options):
        monkeypatch.setattr(Path, "mkdir", mkdir)
        mkdir(path, parents=True)
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", after_the_other_run)
    assert claim_folder(tmp_path) == tmp_path / "version_1"
