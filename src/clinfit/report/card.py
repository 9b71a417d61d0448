"""The model card of a pack: README.md in the format of the Hugging Face hub, with every number's interval."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from clinfit.evaluation.claims.wording import number
from clinfit.evaluation.results import Results, TaskResult
from clinfit.evaluation.system_results import MetricDict, SystemResult
from clinfit.report.build import DISCLAIMER
from clinfit.report.format import Cell, flatten, metric_cell
from clinfit.report.glossary import definition
from clinfit.report.kinds import KINDS, Kind
from clinfit.report.section import section
from clinfit.study.data import SYNTHETIC

#: What no study can show by itself.
SCOPE = "- Only the records of this study were used; other places, periods and populations are not shown."

#: Names of the hub's metric pages.
HUB_METRICS = {"auroc": "roc_auc", "macro_f1": "f1", "mcc": "matthews_correlation"}


def model_card(results: Results, pack: Mapping[str, Any]) -> str:
    """The card.

    pack: the content of pack.json (see packs/content.py): `run`, `clinfit`, `study`, `model` with family, spec, seed,
    sha256 and details, and for every task that it answers its `task`, `recalibration`, `threshold`, `referral`, `n`,
    `metrics` and `updates`, for every other `withheld` and no more. results: of a recalibrated pack without tasks.
    """
    front = yaml.safe_dump(front_matter(pack), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n".join(sections(results, pack)) + "\n"


def front_matter(pack: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that the hub reads; a licence is not claimed, since it follows from the base and the data."""
    spec, family, study = pack["model"]["spec"], pack["model"]["family"], pack["study"]["name"]
    front: dict[str, Any] = {"library_name": "clinfit"}
    hub = {kind_served(served).hub for served in answered(pack).values()}
    if len(hub) == 1:  # a model of several kinds has no one pipeline
        front["pipeline_tag"] = hub.pop()
    if "base" in spec:
        front["base_model"] = spec["base"]
    front["tags"] = ["clinfit", "medical", family]
    front["model-index"] = [
        {
            "name": pack["run"],
            "results": [
                {
                    "task": {"type": kind_served(served).hub, "name": name},
                    "dataset": {"type": study, "name": f"{study}: {name}", "split": split_of(served)},
                    "metrics": hub_metrics(served),
                }
                for name, served in answered(pack).items()
            ],
        }
    ]
    return front


def split_of(served: Mapping[str, Any]) -> str:
    """What the figures were measured on."""
    if served["updates"]:
        return "recalibration, cross-fitted"
    return "test" if served["cross_validation"] is None else "cross-validation"


def answered(pack: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks that the pack answers."""
    return {name: entry for name, entry in pack["tasks"].items() if "withheld" not in entry}


def kind_served(served: Mapping[str, Any]) -> Kind:
    return KINDS[served["task"]["kind"]]


def hub_metrics(served: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Only numbers that exist: the hub has no place for `not estimable`."""
    metrics: Mapping[str, MetricDict] = served["metrics"]
    return [
        {"type": HUB_METRICS.get(name, name), "name": definition(name).title, "value": metrics[name]["value"]}
        for name in kind_served(served).card
        if name in metrics and metrics[name]["value"] is not None
    ]


def sections(results: Results, pack: Mapping[str, Any]) -> Iterator[str]:
    """The card line by line."""
    model, study = pack["model"], pack["study"]
    yield f"# {pack['run']}"
    yield ""
    yield (
        f"`{model['spec']['name']}` ({model['family']}) of the study `{study['name']}`, seed {model['seed']}, "
        f"made by clinfit {pack['clinfit']}."
    )
    yield from ("", f"> **Research use only.** {DISCLAIMER}", "")
    if any(served["task"]["data"]["synthetic"] for served in answered(pack).values()):
        yield from (f"> **{SYNTHETIC}**", "")
    yield from ("## Intended use", "")
    for name, served in pack["tasks"].items():
        yield task_line(name, served) if "withheld" not in served else withheld_line(name, served["withheld"])
    yield from (
        "",
        "For research on records like those of the study, by people who check its answers. Not for decisions "
        "about a patient, and not for other kinds of documents, other languages or other places without validation.",
        "",
        "## How to use it",
        "",
        "```",
        *(predict_line(pack, name) for name in answered(pack)),
        "```",
        "",
        "With `--self-test` it first answers the made-up records that it carries, and stops where an answer is not "
        "what it was.",
    )
    for name, served in answered(pack).items():
        yield from evaluation(name, served, results["tasks"].get(name), results["confidence"], model)
    yield from ("", "## Training", "")
    if (searched := model["details"].get("search")) is not None:
        yield (
            f"Hyperparameters were chosen by a search of {searched['trials']} trials, compared by "
            f"{searched['compared_by']} on {searched['records']} validation records; the table has the chosen ones."
        )
        yield ""
    yield from facts(model)
    yield from ("", "## Identity", "")
    yield f"- study (SHA-256): `{study['sha256']}`"
    yield f"- model (SHA-256): `{model['sha256']}`"


def predict_line(pack: Mapping[str, Any], task: str) -> str:
    """The command that answers a task; where there are several it is named."""
    named = f" --task {task}" if len(answered(pack)) > 1 else ""
    return f"clinfit predict PACK --input new.csv --output answers.csv{named}"


def task_line(name: str, served: Mapping[str, Any]) -> str:
    """What it answers, from what, and how a probability becomes a decision."""
    inputs, kind = ", ".join(served["task"]["data"]["inputs"]), kind_served(served)
    return f"- **{name}**: answers {kind.answers(served)} from {inputs}. {kind.decision(served)}"


def withheld_line(name: str, reason: str) -> str:
    """Why a task of the study is not answered."""
    return f"- **{name}** is not answered, since its numbers are withheld: {reason}."


def evaluation(
    name: str, served: Mapping[str, Any], task: TaskResult | None, confidence: float, model: Mapping[str, Any]
) -> Iterator[str]:
    """The table of metrics, then verdict and warnings of the whole comparison."""
    run = f"{model['spec']['name']}-seed{model['seed']}"
    yield from ("", f"## Evaluation: {name}", "", measured_on(served), "")
    yield from (f"| metric | value | {confidence:.0%} interval |", "|---|---:|---:|")
    for metric in kind_served(served).card:
        if metric in served["metrics"]:
            known = definition(metric)
            value, interval = columns(metric_cell(served["metrics"][metric], percent=known.percent))
            yield f"| {known.title} | {value} | {interval} |"
    if task is None:
        return
    if (chance := section(task, "chance")) is not None:
        levels = ", ".join(f"{definition(name).title} {number(name, value)}" for name, value in chance.items())
        yield from ("", f"An even guess among the options would have {levels}.")
    yield from ("", "What the comparison with the other systems of the study says:", "")
    yield from (f"- {sentence}" for sentence in task["verdict"])
    yield from subgroups(task, run)
    limits = [f for f in task["findings"] if f["level"] != "info" and about(f["system"], run, task)]
    yield from (
        "",
        f"### Limitations: {name}",
        "",
        SCOPE,
    )
    yield from (f"- {finding['title']}. {finding['evidence']}".rstrip() for finding in limits)


def measured_on(served: Mapping[str, Any]) -> str:
    """Whose figures these are."""
    if served["updates"]:
        return recalibrated(served["updates"])
    if served["cross_validation"] is None:
        return f"On {served['n']} test records that training never saw:"
    return (
        f"**These figures are not of this very model.** All {served['n']} records of the study went into its training, "
        f"so that none is left to test it. They are of the models of a {served['cross_validation']}, trained alike on "
        "fewer records, each asked of records that it had not seen"
        + (
            ":"
            if served["task"]["kind"] in ("generation", "extraction")
            else ". A threshold or recalibration of this model was chosen on these same out-of-fold answers, and was "
            "tested on none:"
        )
    )


def recalibrated(updates: Sequence[Mapping[str, Any]]) -> str:
    """What a recalibrated pack was recalibrated on, and what its figures are of."""
    last = updates[-1]
    counts = ", ".join(f"{label}: {count}" for label, count in last["events"].items())
    again = "" if len(updates) == 1 else f" It was recalibrated {len(updates)} times; this is the last."
    return (
        f"**This pack was recalibrated** ({last['method']}) on {last['n']} records ({counts}) of a file with the "
        f"SHA-256 `{last['data']}`; before, it was the pack `{last['pack']}`, whose card tells of its study. "
        f"The threshold was {last['threshold']}.{again} The figures are of these records, cross-fitted in "
        f"{last['folds']} folds: each record was judged by a map and a threshold from the others. The pack's own map "
        "and threshold are from all of them, and were tested on none:"
    )


def subgroups(task: TaskResult, run: str) -> Iterator[str]:
    """The primary metric by group, where the study names groups; small ones have no numbers."""
    packed = {entry["name"] for entry in task["systems"] if _is_packed(entry, run)}
    known = definition(task["primary"])
    for result in section(task, "subgroups") or []:
        if result["system"] not in packed:
            continue
        yield from ("", f"| {result['title']} | records | {known.title} |", "|---|---:|---:|")
        for row in result["rows"]:
            value, interval = columns(metric_cell(row["metrics"].get(task["primary"]), percent=known.percent))
            shown = "too few" if row["suppressed"] else f"{value} {interval}".strip()
            n = "\N{EM DASH}" if row["n"] is None else str(row["n"])
            yield f"| {row['group'].replace('|', '/')} | {n} | {shown} |"


def about(system: str | None, run: str, task: TaskResult) -> bool:
    """Whether a finding is about the data or about the trained model of this pack."""
    own = {entry["name"] for entry in task["systems"] if _is_packed(entry, run)}
    return system is None or system == run or system in own


def _is_packed(entry: SystemResult, run: str) -> bool:
    return f"{entry['model']}-seed{entry['seed']}" == run and entry["moment"] != "before"


def columns(cell: Cell) -> tuple[str, str]:
    """Value and interval; a table cell may not hold a bar."""
    return cell.text.replace("|", "/"), cell.interval.replace("|", "/")


def facts(model: Mapping[str, Any]) -> Iterator[str]:
    """The settings of the study and the values that the trainer really used."""
    rows = flatten({"study": model["spec"], "used": model["details"]})
    yield from ("| setting | value |", "|---|---|")
    yield from (f"| {name} | {text.replace('|', '/')} |" for name, text in rows)
