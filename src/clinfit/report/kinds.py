"""What differs in the report by kind of task: the words for what is asked, and the metrics that stand first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.claims.wording import recalibration_words, referral_words, rule_and_threshold
from clinfit.evaluation.results import TaskResult

#: Beside the primary metric, in the comparison of all systems.
BINARY_COLUMNS = ("accuracy", "sensitivity", "specificity", "balance_gap", "f1", "mcc", "auroc", "brier")
MANY_LABELS_COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auroc", "brier_sum")
SEVERAL_COLUMNS = ("macro_f1", "micro_f1", "macro_auroc", "subset_accuracy", "hamming_loss")
OPTION_COLUMNS = ("accuracy", "log_loss")
TEXT_COLUMNS = (
    "token_f1", "rougeL", "number_recall", "number_precision", "entity_precision", "unsupported_sentences",
    "length_ratio", "cut_off", "perplexity",
)  # fmt: skip
FIELD_COLUMNS = (
    "field_f1", "field_precision", "field_recall", "all_fields", "valid_output", "not_json", "missing_field",
    "extra_field", "wrong_type", "outside_list", "cut_off", "perplexity",
)  # fmt: skip

#: The same in the main table of the first pages, which has room for fewer.
BINARY_FRONT = ("auroc", "sensitivity", "specificity", "ppv", "npv", "calibration_intercept", "calibration_slope")
FIELD_FRONT = ("field_f1", "field_precision", "field_recall", "all_fields", "valid_output")
TEXT_FRONT = ("token_f1", "rougeL", "number_precision", "entity_recall", "unsupported_sentences", "cut_off")
MANY_LABELS_FRONT = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "brier_sum", "classwise_ece")

#: The same on a terminal, which has room for few.
BINARY_SHORT = ("accuracy", "sensitivity", "specificity", "auroc")
MANY_LABELS_SHORT = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc")
FIELD_SHORT = ("field_f1", "all_fields", "valid_output")
TEXT_SHORT = ("token_f1", "rougeL", "number_precision", "cut_off")

#: Lists of labels longer than this are counted, not told.
TOLD = 8

Served = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    title: its name. choices: what its labels are called. yardsticks: what is never the model. asked: how many of the
    labels are asked for, in words. right: what a right answer is. columns, front, short: metrics beside the primary
    one, those that a system has, in the report, on its first pages and on a terminal. facts: metrics of the label on a
    model. card: of the model card. hub: the hub's name of the kind. answers, decision: what a task of a pack
    (`packs.content.TaskEntry`) answers, and how probabilities become decisions. reading: what people are to read before
    anyone relies on answers that no probability comes with; '' of labels.
    """

    title: str
    choices: str
    yardsticks: str
    asked: str
    right: str
    columns: Callable[[TaskResult], Sequence[str]]
    front: Callable[[TaskResult], Sequence[str]]
    short: Callable[[TaskResult], Sequence[str]]
    facts: Sequence[str]
    card: Sequence[str]
    hub: str
    answers: Callable[[Served], str]
    decision: Callable[[Served], str]
    reading: str = ""


def kind_of(task: TaskResult) -> Kind:
    return KINDS[task["kind"]]


def asked(task: TaskResult) -> str:
    """one of benign, malignant; any number of 23 labels."""
    kind, labels = kind_of(task), task["labels"]
    if not labels:
        return kind.asked
    return f"{kind.asked} {', '.join(labels) if len(labels) <= TOLD else counted(task)}"


def counted(task: TaskResult) -> str:
    """23 labels; 4 options; of texts, which are not chosen from a list, nothing."""
    if not task["labels"]:
        return ""
    return f"{len(task['labels'])} {kind_of(task).choices.lower()}"


def asked_briefly(task: TaskResult) -> str:
    """Multilabel, any number of 23 labels."""
    kind = kind_of(task)
    return f"{kind.title}, {kind.asked} {counted(task)}".rstrip()


# ---------------------------------------------------------------- words of packs


def _one_label(served: Served) -> str:
    task = served["task"]
    positive = "" if len(task["labels"]) > 2 else f" (positive: {task['positive'] or task['labels'][-1]})"
    return f"one of {', '.join(task['labels'])}{positive}"


def _any_labels(served: Served) -> str:
    return f"any number of {', '.join(served['task']['labels'])}"


def _one_option(served: Served) -> str:
    return f"one of the options {', '.join(served['task']['options'])} by its letter"


def _rule(served: Served) -> str:
    return (
        f"Decision: {rule_and_threshold(served['threshold'])}. "
        f"Recalibration: {recalibrations(served)}. "
        f"Referral: {referral_words(served['referral'])}."
    )


def recalibrations(served: Served) -> str:
    """The maps of the probabilities, in the order in which they are applied."""
    maps = [served["recalibration"], *(update["recalibration"] for update in served["updates"])]
    return ", then ".join(map(recalibration_words, maps))


def _rule_of_labels(served: Served) -> str:
    values = ", ".join(f"{label} {choice['value']:.4g}" for label, choice in served["threshold"].items())
    return f"Decision: every label from its own probability on: {values}. Recalibration: {recalibrations(served)}."


def _a_text(served: Served) -> str:
    return f"with a text of at most {served['task']['max_new_tokens']} tokens"


def _fields(served: Served) -> str:
    return f"with the fields {', '.join(served['task']['fields'])} as one JSON object"


def _as_read(_: Served) -> str:
    return (
        "What the model writes is read strictly; what is no object of the fields is given as text, with the status "
        "`invalid`. Nothing checks whether a value is true."
    )


def _as_written(_: Served) -> str:
    return "The text is what the model writes, word by word the likeliest; nothing checks whether it is true."


def _surest(served: Served) -> str:
    return f"Decision: the most probable option. Recalibration: {recalibrations(served)}."


# ---------------------------------------------------------------- the kinds

KINDS: Mapping[str, Kind] = {
    "classification": Kind(
        title="Classification",
        choices="Labels",
        yardsticks="constant answers",
        asked="one of",
        right="right",
        columns=lambda task: MANY_LABELS_COLUMNS if task["positive"] is None else BINARY_COLUMNS,
        front=lambda task: MANY_LABELS_FRONT if task["positive"] is None else BINARY_FRONT,
        short=lambda task: MANY_LABELS_SHORT if task["positive"] is None else BINARY_SHORT,
        facts=("auroc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "macro_f1", "balanced_accuracy"),
        card=(
            "auroc", "macro_auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv",
            "npv", "macro_f1", "mcc", "brier", "brier_sum", "calibration_intercept", "calibration_slope", "unparsed",
        ),
        hub="text-classification",
        answers=_one_label,
        decision=_rule,
    ),
    "multilabel": Kind(
        title="Multilabel",
        choices="Labels",
        yardsticks="constant answers",
        asked="any number of",
        right="right in every label",
        columns=lambda _: SEVERAL_COLUMNS,
        front=lambda _: SEVERAL_COLUMNS,
        short=lambda _: SEVERAL_COLUMNS,
        facts=("macro_f1", "micro_f1", "macro_auroc", "subset_accuracy", "hamming_loss"),
        card=(
            "macro_f1", "micro_f1", "macro_auroc", "subset_accuracy", "hamming_loss", "jaccard", "example_f1",
            "unparsed",
        ),
        hub="text-classification",
        answers=_any_labels,
        decision=_rule_of_labels,
    ),
    "multiple-choice": Kind(
        title="Multiple choice",
        choices="Options",
        yardsticks="constant answers",
        asked="one of",
        right="right",
        columns=lambda _: OPTION_COLUMNS,
        front=lambda _: OPTION_COLUMNS,
        short=lambda _: OPTION_COLUMNS,
        facts=("accuracy", "log_loss"),
        card=("accuracy", "log_loss", "brier_sum", "unparsed"),
        hub="multiple-choice",
        answers=_one_option,
        decision=_surest,
    ),
    "generation": Kind(
        title="Generation",
        choices="Texts",
        yardsticks="rules that write",
        asked="a text in the model's own words",
        right="as good",
        columns=lambda _: TEXT_COLUMNS,
        front=lambda _: TEXT_FRONT,
        short=lambda _: TEXT_SHORT,
        facts=("token_f1", "rougeL", "number_precision", "entity_precision", "unsupported_sentences"),
        card=(
            "token_f1", "rouge1", "rouge2", "rougeL", "rougeLsum", "chrf", "exact_match", "number_recall",
            "entity_recall", "number_precision", "unsupported_numbers", "entity_precision", "unsupported_sentences",
            "negation_flips", "empty", "cut_off", "preamble", "length_ratio", "perplexity", "bits_per_byte",
        ),
        hub="text-generation",
        answers=_a_text,
        decision=_as_written,
        reading="Let people read texts of all systems side by side: no figure here says whether a text is right. Type: "
        "clinfit reading page RUN{task} --out reading.html",
    ),
    "extraction": Kind(
        title="Extraction",
        choices="Fields",
        yardsticks="rules that write",
        asked="the values of declared fields",
        right="right in every field",
        columns=lambda _: FIELD_COLUMNS,
        front=lambda _: FIELD_FRONT,
        short=lambda _: FIELD_SHORT,
        facts=FIELD_FRONT,
        card=(*FIELD_COLUMNS, "bits_per_byte"),
        hub="text-generation",
        answers=_fields,
        decision=_as_read,
        reading="Let people hold the values of some records against their source: one that agrees with its reference "
        "may agree with a mistake.",
    ),
}  # fmt: skip
