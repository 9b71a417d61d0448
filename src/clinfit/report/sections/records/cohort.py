"""Who and what was studied: the flow of the records and the splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.results import SplitCounts, TaskResult
from clinfit.findings import FindingDict
from clinfit.report.format import count, per_cent, text_of
from clinfit.report.kinds import TOLD
from clinfit.report.section import section
from clinfit.report.sections.answers.errors import leakage_table, shift_table
from clinfit.report.sections.first.verdict import findings
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, Plain


@dataclass(frozen=True)
class DataView:
    """labels: where there are too many for the table of splits. findings: of the audit, those that the verdict does not
    tell. notes: findings of the evaluation that change nothing."""

    tables: list[Plain]
    labels: Plain | None
    facts: list[tuple[str, str]]
    findings: list[Mapping[str, Any]]
    notes: list[FindingDict]
    shift: Plain | None
    leakage: Grid | None


def data_view(subject: Subject) -> DataView:
    """Splits and labels from the results, the rest from data/<task>.json (see data/load.py, `TaskData.describe`)."""
    task, described = subject.task, subject.described
    many = len(task["labels"]) > TOLD
    tables = [flow_table(described)] if "rows" in described else []
    tables.append(split_table(task, described.get("splits", {}), [] if many else task["labels"]))
    facts = [(name, text_of(described[name])) for name in ("source", "fingerprint") if name in described]
    told = {finding["code"] for finding in task["findings"]}
    return DataView(
        tables,
        label_table(task) if many else None,
        facts,
        [finding for finding in described.get("findings", []) if finding["code"] not in told],
        findings(task, "info"),
        shift_table(task),
        leakage_table(task),
    )


def flow_table(described: Mapping[str, Any]) -> Plain:
    """From the rows of the file to the records of the study, every loss with its reason (TRIPOD+AI 20a)."""
    rows = [["Rows read", count(described["rows"])]]
    rows += [[f"dropped: {reason}", f"\N{MINUS SIGN}{count(n)}"] for reason, n in described.get("dropped", {}).items()]
    rows.append(["Records of the study", count(described["records"])])
    rows += [[f"changed by cleaning: {step}", count(n)] for step, n in described.get("cleaned", {}).items()]
    return Plain("From the file to the study", "", ["Step", "Records"], rows)


def split_table(task: TaskResult, described: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> Plain:
    """Records of each split, and by label; groups as the loader counted them."""
    rows = []
    once = section(task, "cross_validation") is None
    for split, entry in task["counts"].items():
        if not once and not entry["n"]:
            continue  # the sizes of the folds stand with them
        groups = described[split]["groups"] if split in described else entry["groups"]
        counts = [_of_all(entry, label) for label in labels]
        rows.append(
            [
                split if once else "all, out of fold",
                count(entry["n"]),
                "—" if groups is None else count(groups),
                *counts,
            ]
        )
    title = "Records by split and label" if labels else "Records by split"
    return Plain(title, "", ["Split", "Records", "Groups", *labels], rows)


def label_table(task: TaskResult) -> Plain:
    """Records of each label by split, a line a label; the commonest label of the test split first."""
    counts = task["counts"]
    labels = sorted(task["labels"], key=lambda label: -counts.get("test", {"labels": {}})["labels"].get(label, 0))
    rows = [[label, *(_of_all(entry, label) for entry in counts.values())] for label in labels]
    return Plain("Records by label and split", "", ["Label", *counts], rows)


def _of_all(entry: SplitCounts, label: str) -> str:
    """12 (13.3 %) of the records of a split."""
    n = entry["labels"].get(label, 0)
    return f"{count(n)} ({per_cent(n / entry['n'])})" if entry["n"] else "0"
