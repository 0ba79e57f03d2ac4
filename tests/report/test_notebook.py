import json
from pathlib import Path

from tests.report.records import named, write_record

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "size_analysis.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_notebook_runs_on_the_runs_of_the_demo(tmp_path, monkeypatch):
    for name, lost in (("quickstart_fcn", 0.5), ("quickstart", 0.2)):
        path = tmp_path / "demo" / "runs" / name / "version_0" / "objects_val.parquet"
        write_record(path, lost=lost, images=5, **named(name))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    space = {}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), space)
    assert space["study"].names == ["quickstart_fcn", "quickstart"]


def test_notebook_has_no_outputs_and_only_imports_the_report():
    code = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in CELLS)
    imports = [line for text in code for line in text.splitlines() if line.startswith(("import", "from"))]
    assert imports == ["from segattn import report", "from segattn.report import charts"]
    assert not any("def " in text for text in code)
