import pytest

from segattn.report import load_runs
from tests.report.records import named, write_record


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Two seeds of a weak head, one of a better head."""
    folder = tmp_path_factory.mktemp("runs")
    for name, version, lost in (("fcn", 0, 0.5), ("fcn", 1, 0.5), ("fla", 0, 0.1)):
        path = folder / name / f"version_{version}" / "objects_val.parquet"
        write_record(path, seed=version + 7 * (name == "fla"), lost=lost, images=8, **named(name, version))
    return load_runs([folder / "fcn", folder / "fla"])
