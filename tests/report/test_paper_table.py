import pandas as pd
import pytest

from segattn import cli
from segattn.report import compare, run_scores
from segattn.report.charts import latency_figure
from segattn.report.comparison_page import write_page
from segattn.report.paper_table import model_note, model_table, model_text, read_costs, without_costs
from tests.report.records import named, write_record

COSTS = "name,input,parameters,multiply_adds,latency_ms,step_ms,machine\n"
FCN = "fcn,1x3x32x48,4058582,2216458496,73.99,151.2,2 threads\n"
FLA = "fla,1x3x32x48,4263202,3301432064,120.06,256.78,2 threads\n"


@pytest.fixture
def costs(tmp_path):
    def write(text):
        (tmp_path / "costs.csv").write_text(text)
        return tmp_path / "costs.csv"

    return write


def test_scores_and_costs_of_each_model_are_in_its_row(study, costs):
    comparison = compare(study, resamples=20)
    table = model_table(comparison, read_costs(costs(COSTS + "other,1,1,1,1,1,x\n" + FLA + FCN), study.names))
    assert table["name"].tolist() == ["fcn", "fla"]
    scores, _ = run_scores(study.groups["fla"][0])
    row = table.iloc[1]
    assert row["miou"] == pytest.approx(scores.miou)
    for number, size in enumerate(study.info.bucket_names):
        assert row[f"miou_{size}"] == pytest.approx(scores.bucket_miou[number])
        assert row[f"miou_{size}_low"] <= row[f"miou_{size}"] <= row[f"miou_{size}_high"]
    assert row["found"] == pytest.approx(scores.found[0])
    assert table["parameters"].tolist() == [4058582, 4263202]
    text = model_text(comparison, table)
    assert list(text) == [
        *("model", "mIoU", "small", "medium", "large", "objects found"),
        *("parameters, M", "multiply-adds, G", "latency, ms", "training step, ms"),
    ]
    assert text.iloc[1, -4:].tolist() == ["4.26", "3.30", "120.1", "256.8"]
    assert text.iloc[1, 1].startswith(f"{100 * scores.miou:.1f} (")
    note = model_note(comparison, table)
    assert "from 20 bootstrap resamples of 8 images. Costs of inputs of 1x3x32x48. Measured with 2 threads." in note


def test_a_model_without_costs_is_named(study, costs):
    comparison = compare(study, resamples=10)
    known = read_costs(costs("name,parameters\nfla,1000000\n"), study.names)
    assert without_costs(known, study.names) == "The costs do not contain fcn."
    assert model_text(comparison, model_table(comparison, known))["parameters, M"].tolist() == ["-", "1.00"]
    assert model_text(comparison, model_table(comparison)).shape == (2, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,input\nfcn,1\n", "needs a column name and at least one of parameters, multiply_adds, latency_ms"),
        ("parameters\n1\n", "needs a column name"),
        ("", "is not a CSV file: No columns to parse"),
        ("name,parameters\na,1\nb,2\n", "has costs of a, b, but the runs are fcn, fla; a name is that of the config"),
        (COSTS + FCN + FCN, "has several rows for fcn; keep the one to show"),
        ("name,parameters\nfcn,many\n", "values in the column parameters that are not numbers"),
    ],
)
def test_unusable_costs(text, message, costs):
    with pytest.raises(ValueError, match=message):
        read_costs(costs(text), ["fcn", "fla"])


def test_page_shows_costs_and_a_picture(study, costs, tmp_path):
    known = read_costs(costs(COSTS + FLA), study.names)
    write_page(study, compare(study, resamples=10), tmp_path / "index.html", costs=known)
    html = (tmp_path / "index.html").read_text()
    assert "mIoU of small objects against latency" in html
    assert "120.1" in html
    assert "The costs do not contain fcn." in html


def test_figure_of_costs_starts_at_zero_and_has_room_beyond_the_slowest_model(study, costs):
    table = model_table(compare(study, resamples=10), read_costs(costs(COSTS + FCN + FLA), study.names))
    low, high = latency_figure(study, table, "small").axes[0].get_xlim()
    assert low == 0
    assert high > 1.02 * 120.06


def test_one_command_ends_in_the_table(costs, tmp_path, capsys):
    paths = [
        str(write_record(tmp_path / name / "objects_val.parquet", images=3, **named(name))) for name in ("fcn", "fla")
    ]
    out, table = tmp_path / "out", tmp_path / "table"
    arguments = ["compare", *paths, "--output", str(out), "--resamples", "20", "--no-pictures"]
    arguments += ["--costs", str(costs(COSTS + FCN + FLA))]
    assert cli.main([*arguments, "--table", f"{table}.md"]) == 0
    printed = capsys.readouterr().out
    assert f"wrote {table}.md" in printed
    assert "mIoU in percent, and costs" in printed
    rows = [line.split(" | ") for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| f")]
    assert [row[-2:] for row in rows] == [["74.0", "151.2 |"], ["120.1", "256.8 |"]]
    assert set(pd.read_csv(out / "scores.csv")["latency_ms"]) == {73.99, 120.06}
    assert cli.main([*arguments[:-1], str(costs("name,parameters\nx,1\n"))]) == 1
    assert "has costs of x, but the runs are fcn, fla" in capsys.readouterr().err
