"""The script that writes the table of encoder families."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "encoder_table.py"


def test_rows_of_encoders_that_work_and_do_not(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("encoder_table", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(script, "FAMILIES", {"A": "tu-test_convnext", "B": "vit-vit_srelpos_small_patch16_224"})
    script.PAGE.write_text(f"before\n{script.START}old\n{script.END}after\n")
    script.main()
    rows = script.PAGE.read_text().splitlines()
    assert (rows[0], rows[-1]) == ("before", "after")
    assert rows[5:7] == [
        "| A | `tu-test_convnext` | 4, 8, 16, 32 | 24, 32, 48, 64 | 8, 16, 32 | any |",
        "| B | `vit-vit_srelpos_small_patch16_224` | - | - | - | none: timm builds it for images of one size only |",
    ]
    assert "old" not in rows
    page = SCRIPT.parents[1] / "docs" / "encoders.md"
    assert page.read_text().count(script.START) == page.read_text().count(script.END) == 1
