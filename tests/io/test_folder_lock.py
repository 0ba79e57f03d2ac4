import multiprocessing
import sys
import time

import pytest

from segattn.io.folder_lock import folder_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders have no locks")


def test_a_folder_is_locked_once_at_a_time(tmp_path):
    refused = pytest.raises(ValueError, match=r"^Another command is writing into .*out:")
    with folder_lock(tmp_path / "new/out"), refused, folder_lock(tmp_path / "new/out"):
        pass
    with folder_lock(tmp_path / "new/out"), folder_lock(tmp_path / "other"):
        pass
    assert list((tmp_path / "new/out").iterdir()) == []


def work(ready):
    ready.set()
    time.sleep(5)  # outlives the process that started it


def hold(folder, ready):
    with folder_lock(folder):
        multiprocessing.get_context("fork").Process(target=work, args=(ready,)).start()
        multiprocessing.Event().wait()


def test_a_killed_process_with_a_worker_releases_its_lock(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(30)
    with pytest.raises(ValueError, match="Another command"), folder_lock(tmp_path):
        pass
    process.kill()
    process.join()
    with folder_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(OSError, match=r"The folder .*file/out cannot be created: Not a directory\.")
    with refused, folder_lock(tmp_path / "file/out"):
        pass
