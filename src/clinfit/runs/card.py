"""The README.md of a pack: what it answers, how well, and what it is not for."""

from typing import Any

METRICS = ["auroc", "macro_auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "mcc", "brier"]


def card(content: dict[str, Any]) -> str:
    """The card of a pack with this content (see pack.py)."""
    model = content["model"]
    lines = [
        f"# {content['run']}",
        "",
        f"Model {model['spec']['name']} ({model['family']}) of the study {content['study']['name']}, seed "
        f"{model['seed']}, made by clinfit {content['clinfit']}.",
    ]
    if "base" in model["spec"]:
        lines += ["", f"Base: {model['spec']['base']}. A LoRA pack holds the adapter only; the base is loaded by name."]
    for name, served in content["tasks"].items():
        lines += ["", *task_lines(name, served)]
    lines += [
        "",
        "## Use",
        "",
        "```",
        "clinfit predict PACK --input new.csv --output answers.csv",
        "```",
        "",
        "The numbers hold for records like those of the test set. They say nothing about other hospitals, other years "
        "or other ways of writing. This is not a medical device: a decision on a patient needs a person, and a "
        "validation where it is used.",
        "",
    ]
    return "\n".join(lines)


def task_lines(name: str, served: dict[str, Any]) -> list[str]:
    task, threshold = served["task"], served["threshold"]
    inputs = ", ".join(task["data"]["inputs"])
    decision = "the most probable label"
    if threshold["value"] is not None:
        positive = task["positive"] or task["labels"][-1]
        decision = f"{positive} when its probability is at least {threshold['value']:.4g} (rule: {threshold['rule']})"
    return [
        f"## Task {name}",
        "",
        f"Inputs: {inputs}. Labels: {', '.join(task['labels'])}. Decision: {decision}.",
        "",
        f"On {served['n']} test records:",
        "",
        "| metric | value | interval |",
        "|---|---|---|",
        *(metric_line(metric, served["metrics"][metric]) for metric in METRICS if metric in served["metrics"]),
    ]


def metric_line(name: str, metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return f"| {name} | {metric['status']} | {metric['reason'] or ''} |"
    interval = f"{metric['low']:.3f} to {metric['high']:.3f}" if metric["low"] is not None else ""
    return f"| {name} | {metric['value']:.3f} | {interval} |"
