"""The notebook of the controlled study, on a reduced study that the study's own script trains."""

import json
from pathlib import Path

import size_study
import size_study_page
import study_counts

from segattn import cli

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "size_study.ipynb"
REDUCED = ["--data.num_train", "16", "--data.num_val", "2", "--data.num_test", "100", "--trainer.max_epochs", "1"]


def test_notebook_runs_on_a_reduced_study(tmp_path, monkeypatch):
    monkeypatch.setattr(size_study, "segattn", lambda arguments, log: cli.main(arguments) == 0)
    study = str(ROOT / "scripts" / "studies" / "controlled.yaml")
    options = ["--variants", "none", "position", "--seeds", "0", "1", "--checkpoints", "last", "--split", "test"]
    records = tmp_path / "runs" / "controlled" / "image"
    context = ["--data.context", "image", "--trainer.check_val_every_n_epoch", "1"]
    assert size_study.main(["--study", study, *options, "--output", str(records), "--", *context, *REDUCED]) == 0
    study_counts.add_records(records.parent, tmp_path / "counts")
    monkeypatch.setattr(size_study_page, "COUNTS", tmp_path / "counts")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    space = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), space)
    assert space["studies"]["image"].names == ["none", "position"]
    assert len(space["studies"]["image"].images) == study_counts.GROUPS
    assert space["scores"]["miou"].notna().any()
    run = space["decisions"]["decision"] != "not run yet"
    assert set(space["decisions"].index[run]) == {1, 2}  # the hypotheses about position and none in the context image
