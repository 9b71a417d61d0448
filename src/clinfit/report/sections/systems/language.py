"""What the report says of language models alone: what they read, how sure they are of the labels, what they write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.system_results import GeneratedDict, LanguageDict, PiecesDict, SystemResult
from clinfit.report.format import NOTHING, Cell, count, decimal, metric_cell, per_cent, signed
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.sections.systems.models import run_name
from clinfit.report.tables import Grid, Plain, number_cell


@dataclass(frozen=True)
class LanguageView:
    """reading: what each model saw; cut: which records it did not see whole. fluency: perplexity of general text before
    and after training, None where it was not asked; fluent: what that means, a sentence a model. free: its written
    answers, None when none wrote any; reasons: why they are unread.

    prompts: run name and SHA-256 of all that its prompts share.
    """

    reading: Plain
    cut: list[Plain]
    fluency: Grid | None
    fluent: list[str]
    free: Grid | None
    reasons: list[str]
    prompts: list[tuple[str, str]]


def language_view(subject: Subject) -> LanguageView | None:
    """None for a task without language models."""
    task = subject.task
    found = [
        (system, section(system, "language")) for system in task["systems"] if section(system, "language") is not None
    ]
    if task["withheld"] or not found:
        return None
    wrote = [(system, section(system, "generated")) for system, _ in found if section(system, "generated") is not None]
    trained_on = {run_name(record): _last_details(record) for record in subject.records}
    runs = {f"{system['model']}-seed{system['seed']}" for system, _ in found}
    asked = general_texts([record for record in subject.records if run_name(record) in runs])
    return LanguageView(
        reading=reading_table(found, trained_on),
        cut=cut_tables(found),
        fluency=fluency_table(asked) if asked else None,
        fluent=[fluent(text) for text in asked],
        free=free_table(wrote, task["labels"]) if wrote else None,
        reasons=[text for system, generated in wrote if (text := unread(system["name"], generated))],
        prompts=[
            (name, str(details["tasks"][subject.name]["prompt_sha256"]))
            for name, details in trained_on.items()
            if "prompt_sha256" in details.get("tasks", {}).get(subject.name, {})
        ],
    )


def reading_table(
    found: Sequence[tuple[SystemResult, LanguageDict]], trained_on: Mapping[str, Mapping[str, Any]]
) -> Plain:
    """Prompt lengths, shortened records and label mass of each system."""
    rows = []
    divided = any(language["pieces"] for _, language in found)
    for system, language in found:
        details = trained_on.get(f"{system['model']}-seed{system['seed']}", {}) if system["trained"] else {}
        shortened = language["shortened"]
        rows.append(
            [
                system["name"],
                _spread(language["prompt_tokens"], 0),
                "—" if shortened is None else f"{count(shortened)} of {count(language['n'])}",
                *([_in_pieces(language["pieces"], language["n"])] if divided else []),
                "—" if "shortened_records" not in details else count(details["shortened_records"]),
                _spread(language["label_mass"], 3),
            ]
        )
    hint = (
        "Median (lower to upper quartile; lowest to highest) on test. Label mass: how much of its probability a causal "
        "model puts on all labels together; label probabilities are shares of it. Shortened: records of which the "
        "model did not see all text; in training those of all tasks that it learnt."
    )
    if divided:
        hint += (
            " In pieces: long records whose text was divided at sentence ends; the model wrote to each piece and then "
            "to what it had written, and prompt tokens are those of all of it. Cut off: its text to a piece reached "
            "max_new_tokens, so that the rest of the piece may be missing. In training such records are shortened."
        )
    pieces = ["In pieces, test"] if divided else []
    columns = ["System", "Prompt tokens", "Shortened, test", *pieces, "Shortened, training", "Label mass"]
    return Plain("What the language models read", hint, columns, rows)


def cut_tables(found: Sequence[tuple[SystemResult, LanguageDict]]) -> list[Plain]:
    """Of each model, the records that it did not see whole, and what they lost; systems that read alike share one."""
    alike: list[tuple[list[str], LanguageDict]] = []
    for system, language in found:
        same = next((names for names, known in alike if known["cut"] == language["cut"]), None)
        if same is not None:
            same.append(system["name"])
        elif language["cut"]:
            alike.append(([system["name"]], language))
    return [_cut_table(names, language) for names, language in alike]


def _cut_table(names: Sequence[str], language: LanguageDict) -> Plain:
    rows = []
    for item in language["cut"]:
        read, lost = item["prompt_tokens"], item["dropped_tokens"]
        share = NOTHING.text if read is None else per_cent(lost / (lost + read))
        rows.append([item["id"], count(lost), share])
    caption = f"Records that lost text, test: {', '.join(names)}"
    hint = "Tokens that did not fit into max_length, and their share of the whole prompt."
    if (language["shortened"] or 0) > len(rows):
        hint += f" The {count(len(rows))} that lost most; `dropped_tokens` in the predictions has every one."
    return Plain(caption, hint, ["Record", "Tokens not seen", "Share"], rows)


#: Share by which perplexity of general text may change without a word on it; no test, since sixteen passages have none.
FLUENCY_CHANGE = 0.05


@dataclass(frozen=True)
class GeneralText:
    """Perplexity of general text (scoring/general_text.py) of one run: of its base, None where that is not known, and
    after its last stage."""

    run: str
    before: float | None
    after: float


def general_texts(records: Sequence[Mapping[str, Any]]) -> list[GeneralText]:
    """Of the runs that were asked, each once."""
    found: dict[str, GeneralText] = {}
    for record in records:
        stages = record.get("stages", {})
        probes = [stages[number].get("details", {}).get("general_text") for number in sorted(stages, key=int)]
        told = [probe for probe in probes if probe is not None]
        if told:
            before = next((probe["base_perplexity"] for probe in told if "base_perplexity" in probe), None)
            found.setdefault(run_name(record), GeneralText(run_name(record), before, told[-1]["perplexity"]))
    return list(found.values())


def fluency_table(asked: Sequence[GeneralText]) -> Grid:
    """Before and after, and the change as a share of before."""
    rows = [
        (
            text.run,
            [
                number_cell(text.before, _one_digit),
                number_cell(text.after, _one_digit),
                NOTHING if text.before is None else number_cell(_change(text), _in_per_cent),
            ],
        )
        for text in asked
    ]
    caption = "General text, perplexity: sixteen everyday passages that are none of the tasks; lower is better"
    return Grid(caption, ["Run", "Before training", "After", "Change"], rows)


def fluent(text: GeneralText) -> str:
    """Whether training cost the base some of its general language; that of its answers, people rate."""
    if text.before is None:
        return f"{text.run}: what its base makes of general text is not known."
    moved = f"{_in_per_cent(_change(text))}, from {_one_digit(text.before)} to {_one_digit(text.after)}"
    if _change(text) > FLUENCY_CHANGE:
        return f"{text.run}: general text has become less likely ({moved}): training cost some of the base's language."
    if _change(text) < -FLUENCY_CHANGE:
        return f"{text.run}: general text has become likelier ({moved}): the base's language did not suffer."
    return f"{text.run}: general text is about as likely as before ({moved}): the base's language did not suffer."


def _change(text: GeneralText) -> float:
    assert text.before is not None
    return text.after / text.before - 1


def _one_digit(value: float) -> str:
    return decimal(value, 1)


def _in_per_cent(share: float) -> str:
    return f"{signed(100 * share)} %"


def _in_pieces(found: PiecesDict | None, n: int) -> str:
    """12 of 100 (61 pieces, 3 of them cut off, 2 rounds at most)."""
    if found is None:
        return NOTHING.text
    rounds = f"{count(found['most_rounds'])} round{'' if found['most_rounds'] == 1 else 's'}"
    cut = f"{count(found['cut'])} of them cut off, " if found["cut"] else ""
    told = f" ({count(found['pieces'])} pieces, {cut}{rounds} at most)" if found["records"] else ""
    return f"{count(found['records'])} of {count(n)}{told}"


def free_table(wrote: Sequence[tuple[SystemResult, GeneratedDict]], labels: Sequence[str]) -> Grid:
    """Free answers beside the label probabilities: read, right, alike."""
    columns = ["System", "Label read", *(f"of {label}" for label in labels), "Accuracy", "Same as most probable label"]
    rows = [
        (
            system["name"],
            [
                metric_cell(metric, percent=True)
                for metric in (
                    generated["parsed"],
                    *(generated["parsed_by_label"][label] for label in labels),
                    generated["accuracy"],
                    generated["agreement"],
                )
            ]
            + [Cell(count(generated["cut_off"]), "", repr(generated["cut_off"]))],
        )
        for system, generated in wrote
    ]
    parser = wrote[0][1]["parser"]
    return Grid(f"Free answers, read by the parser {parser}", [*columns, "Cut off"], rows)


def unread(name: str, generated: GeneratedDict) -> str:
    """Why labels were not read from a system's answers; '' when all were."""
    reasons = [f"{reason} ({count(items)})" for reason, items in generated["reasons"].items()]
    return f"{name}, not read: {', '.join(reasons)}." if reasons else ""


def _spread(values: Sequence[float] | None, digits: int) -> str:
    """212 (180 to 251; 97 to 480)."""
    if values is None:
        return NOTHING.text
    low, q1, median, q3, high = (decimal(value, digits) for value in values)
    return f"{median} ({q1} to {q3}; {low} to {high})"


def _last_details(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the trainer noted of the last stage."""
    stages = record.get("stages", {})
    return stages[max(stages, key=int)].get("details", {}) if stages else {}
