"""Who and what was studied: the flow of the records, the splits, and a first table of the inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.results import TaskResult
from clinfit.report.format import count, per_cent, text_of
from clinfit.report.mistakes import leakage_table, shift_table
from clinfit.report.tables import Grid, Plain


@dataclass(frozen=True)
class DataView:
    tables: list[Plain]
    inputs: Plain | None
    facts: list[tuple[str, str]]
    findings: list[Mapping[str, Any]]
    shift: Plain | None
    leakage: Grid | None


def data_view(task: TaskResult, described: Mapping[str, Any]) -> DataView:
    """Splits and labels from the results, the rest from data/<task>.json (see data/load.py, `TaskData.describe`)."""
    tables = [flow_table(described)] if "rows" in described else []
    tables.append(split_table(task, described.get("splits", {})))
    inputs = input_table(described["inputs"]) if described.get("inputs") else None
    facts = [(name, text_of(described[name])) for name in ("source", "fingerprint") if name in described]
    told = {finding["code"] for finding in task["findings"]}
    findings = [f for f in described.get("findings", []) if f["code"] not in told]
    return DataView(tables, inputs, facts, findings, shift_table(task), leakage_table(task))


def flow_table(described: Mapping[str, Any]) -> Plain:
    """From the rows of the file to the records of the study, every loss with its reason (TRIPOD+AI 20a)."""
    rows = [["Rows read", count(described["rows"])]]
    rows += [[f"dropped: {reason}", f"\N{MINUS SIGN}{count(n)}"] for reason, n in described.get("dropped", {}).items()]
    rows.append(["Records of the study", count(described["records"])])
    rows += [[f"changed by cleaning: {step}", count(n)] for step, n in described.get("cleaned", {}).items()]
    return Plain("From the file to the study", "", ["Step", "Records"], rows)


def split_table(task: TaskResult, described: Mapping[str, Mapping[str, Any]]) -> Plain:
    """Records of each split by label; groups as the loader counted them."""
    rows = []
    for split, entry in task["counts"].items():
        labels = [entry["labels"].get(label, 0) for label in task["labels"]]
        shares = [f"{count(value)} ({per_cent(value / entry['n'])})" if entry["n"] else "0" for value in labels]
        groups = described[split]["groups"] if split in described else entry["groups"]
        rows.append([split, count(entry["n"]), "—" if groups is None else count(groups), *shares])
    return Plain("Records by split and label", "", ["Split", "Records", "Groups", *task["labels"]], rows)


def input_table(inputs: Mapping[str, Mapping[str, Any]]) -> Plain:
    """The inputs split by split: median and quartiles of numbers and text lengths, shares of categories, missing."""
    splits = list(next(iter(inputs.values()))["splits"])
    rows = []
    for name, entry in inputs.items():
        unit = f", {entry['unit']}" if entry["unit"] else ", words" if entry["type"] == "text" else ""
        rows.append([name + unit, *(_summary(entry["splits"][split]) for split in splits)])
        missing = [entry["splits"][split]["missing"] for split in splits]
        if any(missing):
            rows.append([f"{name}: missing", *(count(n) for n in missing)])
    hint = (
        "Median [lower quartile, upper quartile]; categories with counts, those of fewer than 10 records not "
        "counted, nor the next larger one where it would give a single such one away. Inputs without a row `missing` "
        "are complete."
    )
    return Plain("Inputs by split", hint, ["Input", *splits], rows)


def _summary(split: Mapping[str, Any]) -> str:
    """One input in one split."""
    quartiles = split.get("words") or split.get("values")
    if quartiles:
        low, middle, high = (f"{quartiles[name]:.4g}" for name in ("lower_quartile", "median", "upper_quartile"))
        return f"{middle} [{low}, {high}]"
    if split.get("counts"):
        return ", ".join(f"{value} {'not counted' if n is None else count(n)}" for value, n in split["counts"].items())
    return f"{split['distinct']} different values" if "distinct" in split else "\N{EM DASH}"
