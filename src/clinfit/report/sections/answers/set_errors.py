"""What went wrong with whole sets of labels: how many are exact, which labels are missed or added, and where."""

from dataclasses import dataclass

from clinfit.evaluation.results import SetErrors
from clinfit.report.format import count, per_cent
from clinfit.report.section import section
from clinfit.report.sections.answers.labels import by_support
from clinfit.report.sections.first.verdict import tested
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Plain


@dataclass(frozen=True)
class SetErrorsView:
    sentence: str
    labels: Plain
    worst: Plain | None


def set_errors_view(subject: Subject) -> SetErrorsView | None:
    """None for other kinds of task, where results are withheld, and without a trained system."""
    errors: SetErrors | None = section(subject.task, "set_errors")
    if errors is None:
        return None
    told = sentence(errors, tested(subject.task))
    return SetErrorsView(told, _labels(errors, subject), _worst(errors) if errors["worst"] else None)


def sentence(errors: SetErrors, counted: str) -> str:
    """How many sets are exact, and what is wrong with the others. counted: what they are called."""
    n, exact = errors["n"], errors["n"] - errors["wrong"]
    share = f" ({per_cent(exact / n)})" if n else ""
    start = f"{errors['system']} gives exactly the right labels to {count(exact)} of {count(n)} {counted}{share}."
    parts = [
        f"{count(errors[kind])} {words}"
        for kind, words in (
            ("missing", "lack one or more labels and have none too many"),
            ("extra", "have one or more labels too many and lack none"),
            ("both", "have some too many and lack others"),
            ("unparsed", "could not be read"),
        )
        if errors[kind]
    ]
    return f"{start} Of the others {'; '.join(parts)}." if parts else start


def _labels(errors: SetErrors, subject: Subject) -> Plain:
    """Most errors first, so that what costs most stands on top."""
    system = next(system for system in subject.task["systems"] if system["name"] == errors["system"])
    support = {entry["label"]: entry["support"] for entry in by_support(system)} if section(system, "classes") else {}
    rows = [
        [
            item["label"],
            count(support[item["label"]]) if item["label"] in support else "\N{EM DASH}",
            count(item["missed"]),
            count(item["added"]),
        ]
        for item in sorted(errors["labels"], key=lambda item: -(item["missed"] + item["added"]))
    ]
    hint = "Missed: has the label and was not given it. Added: was given it and does not have it. Most errors first."
    return Plain("Labels missed and added", hint, ["Label", "Records with it", "Missed", "Added"], rows)


def _worst(errors: SetErrors) -> Plain:
    rows = [
        [item["id"], ", ".join(item["missed"]) or "none", ", ".join(item["added"]) or "none"]
        for item in errors["worst"]
    ]
    hint = "Look these up in your own data: the report holds no text."
    return Plain("The records with the most wrong labels", hint, ["Record", "Missed", "Added"], rows)
