"""Tables, figures and a web page from object records, with bootstrap intervals. No torch."""

from segattn.report.bootstrap import Comparison, compare
from segattn.report.error_tables import error_table
from segattn.report.found_tables import found_curve, found_table
from segattn.report.object_rows import PROPERTIES, divided_objects, property_table, worst_objects
from segattn.report.runs import Run, Study, load_runs
from segattn.report.scores import run_scores
from segattn.report.tables import class_table, confusion_matrix, confusions, curves, size_gaps, size_table
from segattn.report.verdicts import verdict

__all__ = [
    "load_runs",
    "Run",
    "Study",
    "run_scores",
    "size_table",
    "class_table",
    "size_gaps",
    "curves",
    "error_table",
    "found_table",
    "found_curve",
    "property_table",
    "PROPERTIES",
    "confusion_matrix",
    "confusions",
    "worst_objects",
    "divided_objects",
    "compare",
    "Comparison",
    "verdict",
]
