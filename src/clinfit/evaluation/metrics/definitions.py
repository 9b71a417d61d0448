"""Every metric by name: what it is called, which way is better, how it is computed. The report's glossary."""

from dataclasses import dataclass
from typing import Literal

from clinfit.evaluation.metrics.text.definitions import KNOWN as TEXT


@dataclass(frozen=True)
class Definition:
    """percent: a share, shown in per cent and compared in points. better: None when neither way is better."""

    title: str
    better: Literal["higher", "lower"] | None
    percent: bool
    formula: str


METRICS: dict[str, Definition] = {
    "accuracy": Definition("Accuracy", "higher", True, "right answers / all items; unparsed answers are wrong"),
    "balanced_accuracy": Definition(
        "Balanced accuracy", "higher", True, "mean recall over the labels that the test set holds"
    ),
    "macro_f1": Definition("Macro F1", "higher", True, "mean F1 over the labels that the test set holds"),
    "macro_f1_declared": Definition(
        "Macro F1, all declared labels", "higher", True, "mean F1 over all declared labels; an absent label counts 0"
    ),
    "weighted_f1": Definition(
        "Weighted F1", "higher", True, "mean F1 over the labels, each counted by its share of the items"
    ),
    "micro_f1": Definition(
        "Micro F1",
        "higher",
        True,
        "2 TP / (2 TP + FP + FN) over all items and labels; with one label an item and all answers read, accuracy",
    ),
    "sensitivity": Definition("Sensitivity", "higher", True, "TP / positives; also called recall of the positive"),
    "specificity": Definition("Specificity", "higher", True, "TN / negatives"),
    "ppv": Definition("Positive predictive value", "higher", True, "TP / (TP + FP); also called precision"),
    "npv": Definition("Negative predictive value", "higher", True, "TN / (TN + FN), parsed answers only"),
    "f1": Definition("F1 of the positive label", "higher", True, "2 TP / (2 TP + FP + FN)"),
    "balance_gap": Definition("Balance gap", "lower", True, "|sensitivity - specificity|"),
    "mcc": Definition("Matthews correlation", "higher", False, "correlation of gold and predicted label (Gorodkin)"),
    "kappa": Definition("Cohen's kappa", "higher", False, "(agreement - agreement by chance) / (1 - the latter)"),
    "auroc": Definition("AUROC", "higher", False, "chance that a positive is ranked above a negative; ties count half"),
    "macro_auroc": Definition(
        "Macro AUROC", "higher", False, "mean over labels of the AUROC of this label against the rest"
    ),
    "auprc": Definition(
        "Average precision", "higher", False, "sum of precision x step of recall; a blind ranking gives the prevalence"
    ),
    "brier": Definition("Brier score", "lower", False, "mean (P(positive) - outcome)^2, 0 to 1"),
    "brier_sum": Definition("Brier score, summed over labels", "lower", False, "mean sum over labels, 0 to 2"),
    "scaled_brier": Definition(
        "Scaled Brier score", "higher", False, "1 - Brier / (prevalence (1 - prevalence)); 0: no better than prevalence"
    ),
    "log_loss": Definition("Log loss", "lower", False, "mean -log P(gold label), natural logarithm"),
    "lr_plus": Definition("Positive likelihood ratio", "higher", False, "sensitivity / (1 - specificity)"),
    "lr_minus": Definition("Negative likelihood ratio", "lower", False, "(1 - sensitivity) / specificity"),
    "oe_ratio": Definition(
        "O:E ratio", None, False, "positives / sum of P(positive); ideal 1, below 1: risks too high on average"
    ),
    "calibration_intercept": Definition(
        "Calibration intercept", None, False, "a in logit P(y) = a + logit p; ideal 0, below 0: risks too high"
    ),
    "calibration_slope": Definition(
        "Calibration slope", None, False, "b in logit P(y) = a + b logit p; ideal 1, below 1: risks too extreme"
    ),
    "ece": Definition(
        "Expected calibration error", "lower", False, "10 bins of equal width, mean |observed - predicted| by items"
    ),
    "ece_null": Definition(
        "ECE of a perfect model", None, False, "mean ECE if outcomes followed these probabilities, at this n"
    ),
    "classwise_ece": Definition(
        "Classwise calibration error", "lower", False, "mean over labels of the ECE of P(label), 10 bins of equal width"
    ),
    "ici": Definition(
        "Integrated calibration index", "lower", False, "mean |P(positive) - smooth observed share| over items"
    ),
    "e50": Definition("E50", "lower", False, "median |P(positive) - smooth observed share| over items"),
    "e90": Definition("E90", "lower", False, "90th percentile of |P(positive) - smooth observed share| over items"),
    "emax": Definition("Emax", "lower", False, "largest |P(positive) - smooth observed share| of any item"),
    "subset_accuracy": Definition("Exact sets", "higher", True, "items with exactly the right labels / all items"),
    "hamming_loss": Definition("Hamming loss", "lower", True, "wrong labels, given or left out / (items x labels)"),
    "jaccard": Definition("Jaccard index", "higher", True, "mean over items of common / all labels; 1 for no labels"),
    "example_f1": Definition("F1 by item", "higher", True, "mean over items of 2 common / (true + given labels)"),
    "unparsed": Definition("Unparsed answers", "lower", True, "answers that cannot be read / all items"),
    "label_mass": Definition("Label mass", "higher", True, "mean probability that the model gives to all labels"),
    "precision": Definition("Precision", "higher", True, "items with this label / items given this label"),
    "recall": Definition("Recall", "higher", True, "items given this label / items with this label"),
    "valid_output": Definition(
        "Valid answers", "higher", True, "answers that are a JSON object of the declared fields / all items"
    ),
    "all_fields": Definition("All fields right", "higher", True, "items with every field right / all items"),
    "field_precision": Definition(
        "Precision of values",
        "higher",
        True,
        "right values / values given, over all fields; an invalid answer counts as many wrong values of each field as "
        "its reference has, and one where that has none",
    ),
    "field_recall": Definition(
        "Recall of values", "higher", True, "right values / values of the references, over all fields"
    ),
    "field_f1": Definition(
        "F1 of values", "higher", True, "2 x right values / (values given + values of the references), over all fields"
    ),
    "not_json": Definition("No JSON object", "lower", True, "answers that are no JSON object / all items"),
    "missing_field": Definition("Missing fields", "lower", True, "answers that lack a required field / all items"),
    "extra_field": Definition(
        "Undeclared fields", "lower", True, "answers with a field that is not declared, or twice / all items"
    ),
    "wrong_type": Definition("Wrong types", "lower", True, "answers with a value of another type / all items"),
    "outside_list": Definition(
        "Values outside the list", "lower", True, "answers with a value that is not of the list / all items"
    ),
    "perplexity": Definition(
        "Perplexity", "lower", False, "exp(sum of nats / sum of tokens) of the references, ends of turn among them"
    ),
    "bits_per_byte": Definition("Bits per byte", "lower", False, "sum of nats / (log 2 x bytes) of the references"),
} | {
    name: Definition(metric.title + (" (proxy)" if metric.proxy else ""), metric.better, metric.percent, metric.formula)
    for name, metric in TEXT.items()
}

#: Metrics for which `larger is better` needs a change of sign.
LOWER_IS_BETTER = frozenset(name for name, definition in METRICS.items() if definition.better == "lower")


#: What a study's primary metric becomes for more than two labels.
MULTI_CLASS = {
    "auroc": "macro_auroc",
    "auprc": "macro_auroc",
    "brier": "brier_sum",
    "f1": "macro_f1",
    "sensitivity": "balanced_accuracy",
    "specificity": "balanced_accuracy",
}


def primary_name(metric: str, labels: int) -> str:
    """The name under which a study's primary metric is reported: for more than two labels, the multi-class form."""
    return metric if labels == 2 else MULTI_CLASS.get(metric, metric)
