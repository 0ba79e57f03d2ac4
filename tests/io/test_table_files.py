import pandas as pd

from segattn.io.table_files import write_table


def test_names_are_escaped_and_only_csv_has_the_numbers(tmp_path):
    values = pd.DataFrame({"name": ["a_b|c & 50%"], "score": [0.123456]})
    text = pd.DataFrame({"run": ["a_b|c & 50%"], "mIoU, %": ["12.3"]})
    for ending in ("csv", "md", "tex"):
        write_table(tmp_path / f"t.{ending}", values, text, note="In percent.")
    assert pd.read_csv(tmp_path / "t.csv").equals(values)
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert lines == ["| run | mIoU, % |", "| --- | ---: |", r"| a_b\|c & 50% | 12.3 |", "", "In percent."]
    latex = (tmp_path / "t.tex").read_text()
    assert latex.startswith("% In percent.\n\\begin{tabular}{lr}\n\\toprule\nrun & mIoU, \\% \\\\\n")
    assert r"a\_b|c \& 50\% & 12.3 \\" in latex
