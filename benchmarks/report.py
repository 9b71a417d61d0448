"""Tables of a results file, in Markdown: medians over rounds, ratios to clinfit, and the targets.

    python benchmarks/report.py benchmarks/results.jsonl

Ratios are taken between medians of one file; absolute times depend on the machine and mean little elsewhere.
The share of the ceiling is the work that is needed, not the work that is done, over the best matrix-product rate:
training 4 x parameters in layers x tokens + 4 x hidden x vocabulary x answer tokens, scoring half of it (no backward
pass), with each prompt's tokens counted once. Attention, adapters and the optimizer are left out.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Runs = dict[str, list[Record]]  # row name -> its measurements, one a round

PEERS = {
    "clinfit": "clinfit",
    "trl": "TRL, defaults",
    "trl_compact": "TRL, answer positions only (forced)",
    "hf": "Transformers Trainer",
    "llama_factory": "LLaMA-Factory",
    "lm_eval_b1": "lm-evaluation-harness, batch 1",
    "lm_eval_b8": "lm-evaluation-harness, batch 8",
    "generate": "generate (label only)",
    "naive": "plain forward for each label",
}
BUSY = 0.1  # cores used by others, above which a measurement is called disturbed


@dataclass(frozen=True)
class Target:
    """A stated aim: `measured` gives the value, or None when its rows are missing; `least` says which way is good."""

    text: str
    measured: Callable[[Runs], float | None]
    bound: float
    least: bool = True

    def line(self, runs: Runs) -> str:
        value = self.measured(runs)
        sign = "at least" if self.least else "at most"
        if value is None:
            return f"| {self.text} | {sign} {self.bound:g} | - | not measured |"
        met = value >= self.bound if self.least else value <= self.bound
        return f"| {self.text} | {sign} {self.bound:g} | {value:.3g} | {'met' if met else 'missed'} |"


# ------------------------------------------------------------ values


def read_runs(path: Path) -> tuple[Runs, list[Record], Record]:
    """(good measurements by row, failed ones, the machine)"""
    runs: Runs = {}
    failed, machine = [], {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["job"] == "machine":
            machine = record
        elif "error" in record:
            failed.append(record)
        else:
            runs.setdefault(record["job"], []).append(record)
    return runs, failed, machine


def median(runs: Runs, row: str, key: str) -> float | None:
    values = [record[key] for record in runs.get(row, []) if record.get(key) is not None]
    return statistics.median(values) if values else None


def rate(runs: Runs, row: str) -> float | None:
    """Examples or prompts a second."""
    seconds = median(runs, row, "seconds")
    if seconds is None:
        return None
    first = runs[row][0]
    return (first["examples"] if "examples" in first else first["prompts"]) / seconds


def ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def padding(runs: Runs, row: str) -> float | None:
    used = ratio(median(runs, row, "tokens"), median(runs, row, "cells"))
    return None if used is None else 1 - used


def final_loss(runs: Runs, row: str) -> float | None:
    return statistics.median(record["losses"][-1] for record in runs[row]) if row in runs else None


def loss_difference(runs: Runs, workload: str, peer: str = "hf") -> float | None:
    """Relative difference of the final losses."""
    against = ratio(final_loss(runs, f"train/{workload}/clinfit"), final_loss(runs, f"train/{workload}/{peer}"))
    return None if against is None else abs(against - 1)


def margin_difference(runs: Runs, row: str) -> float | None:
    """Largest difference of a label margin from the plain fp32 forward's, over the prompts that both scored."""
    if row not in runs or "score/fp32/naive" not in runs or "margins" not in runs[row][0]:
        return None
    reference = runs["score/fp32/naive"][0]["margins"]
    margins = runs[row][0]["margins"]
    every = len(margins) // len(reference)  # clinfit scored all prompts, the reference every k-th of them
    return max(abs(a - b) for a, b in zip(margins[::every], reference, strict=True))


def ceiling(runs: Runs, precision: str) -> float | None:
    """Best rate of a plain matrix product, in operations a second."""
    measured = [max(record["gflops"][precision].values()) for record in runs.get("gemm", [])]
    return statistics.median(measured) * 1e9 if measured else None


def training_share(runs: Runs, row: str, models: Record) -> float | None:
    """Useful operations a second over the ceiling's."""
    _, name, precision, _ = row.split("/")
    size, top = models[name], ceiling(runs, precision)
    seconds, tokens = median(runs, row, "seconds"), median(runs, row, "tokens")
    answers = median(runs, f"train/{name}/{precision}/hf", "answer_tokens") or median(runs, row, "answer_tokens")
    if seconds is None or tokens is None or answers is None or top is None:
        return None
    return 4 * (size["parameters_in_layers"] * tokens + size["hidden"] * size["vocabulary"] * answers) / seconds / top


def scoring_share(runs: Runs, precision: str, models: Record) -> float | None:
    """The same for clinfit's scoring; one head position a prompt, the least that any scorer needs."""
    row = f"score/{precision}/clinfit"
    size, top = models["small"], ceiling(runs, precision)
    seconds, tokens, prompts = (median(runs, row, key) for key in ("seconds", "tokens", "prompts"))
    if seconds is None or tokens is None or prompts is None or top is None:
        return None
    return 2 * (size["parameters_in_layers"] * tokens + size["hidden"] * size["vocabulary"] * prompts) / seconds / top


# ------------------------------------------------------------ targets


def training_gain(workload: str, peer: str) -> Callable[[Runs], float | None]:
    return lambda runs: ratio(rate(runs, f"train/{workload}/clinfit"), rate(runs, f"train/{workload}/{peer}"))


def scoring_gain(runs: Runs, precision: str, peers: list[str]) -> float | None:
    """clinfit's rate over the best of the peers'."""
    rates = [found for peer in peers if (found := rate(runs, f"score/{precision}/{peer}")) is not None]
    return ratio(rate(runs, f"score/{precision}/clinfit"), max(rates, default=None))


def targets(models: Record) -> Iterator[Target]:
    for precision in ("fp32", "bf16"):
        for model, bounds in (
            ("wide", {"trl": 8, "llama_factory": 4, "hf": 4, "trl_compact": 1.25}),
            ("small", {"trl": 3.5, "llama_factory": 1.8, "hf": 1.8, "trl_compact": 1.25}),
        ):
            workload = f"{model}/{precision}"
            for peer, bound in bounds.items():
                text = f"training, {model}, {precision}: speed over {PEERS[peer]}"
                yield Target(text, training_gain(workload, peer), bound)
            yield Target(
                f"training, {model}, {precision}: difference of the final loss from the Transformers Trainer's",
                lambda runs, workload=workload: loss_difference(runs, workload),
                0.02,
                least=False,
            )
            yield Target(
                f"training, {model}, {precision}: share of padding",
                lambda runs, workload=workload: padding(runs, f"train/{workload}/clinfit"),
                0.06,
                least=False,
            )
        yield Target(
            f"training, wide, {precision}: peak memory over the Transformers Trainer's",
            lambda runs, p=precision: ratio(
                median(runs, f"train/wide/{p}/clinfit", "process_peak_mb"),
                median(runs, f"train/wide/{p}/hf", "process_peak_mb"),
            ),
            0.4,
            least=False,
        )
    for model in ("small", "wide"):
        yield Target(
            f"training, {model}: bf16 over our own fp32",
            lambda runs, m=model: ratio(rate(runs, f"train/{m}/bf16/clinfit"), rate(runs, f"train/{m}/fp32/clinfit")),
            1.3,
        )
    for precision in ("fp32", "bf16"):
        yield Target(
            f"scoring, {precision}: speed over lm-evaluation-harness at its best batch size",
            lambda runs, p=precision: scoring_gain(runs, p, ["lm_eval_b1", "lm_eval_b8"]),
            2.8,
        )
        yield Target(
            f"scoring, {precision}: speed over `generate`",
            lambda runs, p=precision: scoring_gain(runs, p, ["generate"]),
            1,
        )
        yield Target(
            f"scoring, {precision}: share of the matrix-product ceiling",
            lambda runs, p=precision: scoring_share(runs, p, models),
            0.5,
        )
    yield Target(
        "scoring, fp32: largest difference of a label margin from a plain forward's",
        lambda runs: margin_difference(runs, "score/fp32/clinfit"),
        1e-4,
        least=False,
    )


# ------------------------------------------------------------ tables


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def training_table(runs: Runs, workload: str, models: Record) -> Iterator[str]:
    rows = [(peer, f"train/{workload}/{peer}") for peer in PEERS if f"train/{workload}/{peer}" in runs]
    ours = f"train/{workload}/clinfit"
    if not rows:
        return
    yield f"\n### Training, {workload.replace('/', ', ')}\n"
    yield (
        "| | rounds | loop, s (range) | clinfit is faster by | with start-up | clinfit's memory / its | padding "
        "| final loss | of the ceiling |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for peer, row in rows:
        seconds = [record["seconds"] for record in runs[row]]
        memory = ratio(median(runs, ours, "process_peak_mb"), median(runs, row, "process_peak_mb"))
        whole = ratio(median(runs, row, "process_seconds"), median(runs, ours, "process_seconds"))
        spread = f"{min(seconds):.1f}-{max(seconds):.1f}"
        yield (
            f"| {PEERS[peer]} | {len(seconds)} | {statistics.median(seconds):.1f} ({spread}) "
            f"| {shown(ratio(rate(runs, ours), rate(runs, row)), '.2f')} | {shown(whole, '.2f')} "
            f"| {shown(memory, '.2f')} | {shown(padding(runs, row), '.1%')} | {shown(final_loss(runs, row), '.4f')} "
            f"| {shown(training_share(runs, row, models), '.0%')} |"
        )


def scoring_table(runs: Runs, precision: str, models: Record) -> Iterator[str]:
    rows = [(peer, f"score/{precision}/{peer}") for peer in PEERS if f"score/{precision}/{peer}" in runs]
    ours = f"score/{precision}/clinfit"
    if not rows:
        return
    yield f"\n### Scoring, {precision}\n"
    yield (
        "| | rounds | prompts | prompts/s (range) | clinfit is faster by | clinfit's memory / its "
        "| largest margin difference |"
    )
    yield "|---|---|---|---|---|---|---|"
    for peer, row in rows:
        prompts = runs[row][0]["prompts"]
        rates = [prompts / record["seconds"] for record in runs[row]]
        memory = ratio(median(runs, ours, "process_peak_mb"), median(runs, row, "process_peak_mb"))
        yield (
            f"| {PEERS[peer]} | {len(rates)} | {prompts} "
            f"| {shown(rate(runs, row), '.2f')} ({min(rates):.2f}-{max(rates):.2f}) "
            f"| {shown(ratio(rate(runs, ours), rate(runs, row)), '.2f')} | {shown(memory, '.2f')} "
            f"| {shown(margin_difference(runs, row), '.1e')} |"
        )
    share = scoring_share(runs, precision, models)
    yield f"\nclinfit reaches {shown(share, '.0%')} of the ceiling for the work needed."


def preamble(runs: Runs, failed: list[Record], machine: Record) -> Iterator[str]:
    yield (
        f"{machine.get('cores')} cores of {machine.get('processor')} ({', '.join(machine.get('instructions', []))}), "
        f"{machine.get('memory_gb')} GB, no GPU."
    )
    for name, found in machine.get("versions", {}).items():
        yield f"{PEERS[name]} environment: {', '.join(f'{package} {version}' for package, version in found.items())}."
    ceilings = {precision: ceiling(runs, precision) for precision in ("fp32", "bf16")}
    yield f"Matrix-product ceiling, GFLOP/s: {', '.join(f'{p} {v / 1e9:.0f}' for p, v in ceilings.items() if v)}."
    disturbed = [r for rows in runs.values() for r in rows if r["other_cores"] > BUSY]
    total = sum(map(len, runs.values()))
    yield f"{len(disturbed)} of {total} measurements shared the machine with other work (more than {BUSY} cores)."
    for record in failed:
        yield f"FAILED {record['job']}, round {record['round'] + 1}: {record['error'].splitlines()[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    runs, failed, machine = read_runs(options.results)
    models = machine["models"]
    lines = list(preamble(runs, failed, machine))
    for workload in ("small/fp32", "small/bf16", "wide/fp32", "wide/bf16"):
        lines += training_table(runs, workload, models)
    for precision in ("fp32", "bf16"):
        lines += scoring_table(runs, precision, models)
    lines += ["\n### Targets\n", "| | target | measured | |", "|---|---|---|---|"]
    lines += [target.line(runs) for target in targets(models)]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
