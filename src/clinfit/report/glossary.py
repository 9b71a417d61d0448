"""What the metrics and terms of a report mean, in plain words; titles and formulas come from the evaluation."""

from clinfit.evaluation.definitions import METRICS, Definition

#: What a clinician should read into a metric, and what not.
MEANINGS: dict[str, str] = {
    "accuracy": "Share of all records answered correctly. With rare events a rule that never finds one is highly "
    "accurate, so compare it with the majority baseline.",
    "balanced_accuracy": "Mean of the recalls of all labels; with two labels 50 % is chance.",
    "macro_f1": "Plain mean of the F1 of the labels: every label counts the same, however rare.",
    "macro_f1_declared": "The same over every label of the study, also those that the test set does not hold.",
    "weighted_f1": "F1 of the labels averaged by how common they are: the common labels decide it.",
    "micro_f1": "F1 over all answers at once. It differs from accuracy only where answers name no label.",
    "sensitivity": "Of the records that are truly positive, the share called positive.",
    "specificity": "Of the records that are truly negative, the share called negative.",
    "ppv": "Of the records called positive, the share that is truly positive. It falls when events are rarer.",
    "npv": "Of the records called negative, the share that is truly negative. It falls when events are commoner.",
    "f1": "Harmonic mean of precision and recall of the positive label. It ignores true negatives and is not a proper "
    "score: shown because papers show it.",
    "balance_gap": "Distance between sensitivity and specificity: 0 means that both kinds of record are recognised "
    "equally well.",
    "mcc": "Correlation of answer and truth: −1 inverted, 0 no better than chance, 1 perfect.",
    "kappa": "Agreement with the truth beyond what chance would give.",
    "auroc": "How often a positive record gets a higher probability than a negative one: 0.5 is chance, 1 a perfect "
    "ranking. It says nothing about the threshold or about calibration.",
    "macro_auroc": "AUROC of each label against all others, averaged: 0.5 is chance.",
    "auprc": "Precision averaged over all thresholds. Chance level is the prevalence, so never compare it between "
    "populations with different prevalence.",
    "brier": "Squared distance between probability and outcome: ranking and calibration together. Always answering the "
    "prevalence π gives π(1 − π).",
    "brier_sum": "The same summed over the labels.",
    "scaled_brier": "How much of the Brier score of always answering the prevalence a model saves: 1 is perfect, 0 no "
    "better than the prevalence, below 0 worse.",
    "oe_ratio": "Events that happened over events that the probabilities add up to: below 1, risks are too high on the "
    "whole; above 1, too low.",
    "log_loss": "Surprise at the truth; punishes confident errors hard.",
    "calibration_intercept": "Whether risks are too high or too low on the whole.",
    "calibration_slope": "Whether risks are too extreme or too timid.",
    "ece": "Gap between probability and observed share. Even a perfect model is above 0 on a small test set: compare "
    "it with the next row.",
    "classwise_ece": "The same gap for every label's probability, averaged over the labels.",
    "ece_null": "What the expected calibration error would be if every probability were right.",
    "ici": "How far probabilities lie from what was observed, on average over the records.",
    "e50": "Half of the records have a probability that is off by less than this.",
    "e90": "Nine in ten records have a probability that is off by less than this.",
    "emax": "How far off the probability of the worst record is.",
    "unparsed": "Answers that name no declared label; they stay in every denominator as wrong.",
    "label_mass": "How much of a language model's probability falls on the labels at all; low values mean it would "
    "rather say something else.",
    "lr_plus": "How much a positive answer raises the odds of the event.",
    "lr_minus": "How much a negative answer lowers the odds of the event.",
    "precision": "Of the records given this label, the share that has it.",
    "recall": "Of the records with this label, the share that was given it.",
}

#: Terms that a reader of the report needs besides the metrics.
TERMS: dict[str, str] = {
    "Interval": "A range made so that, over many test sets of this size, it would hold the true value as often as the "
    "stated confidence. It covers the chance of which records were tested, not a change of hospital, period or "
    "population. Resting the cursor on a value shows the method and the number of records.",
    "Not estimable": "The test data cannot give this number (for example specificity without a negative record). The "
    "reason stands beside it; it is never shown as 0.",
    "Withheld": "A finding of level error would make the number misleading, so it is not shown.",
    "McNemar's exact test": "Compares two systems on the same records, looking only at those where exactly one of them "
    "is right: a two-sided binomial test with probability ½. `p (Holm)` is corrected for the number of comparisons.",
    "Change in points": "New minus reference in percentage points: from 50 % to 75 % is +25 points.",
    "Relative change": "The change divided by the reference: from 50 % to 75 % is +50 %. The same change always looks "
    "larger in relative terms when the start is low.",
    "Before and after": "The same base model without and with the fine-tuning of this study, on the same records.",
    "Simple baseline": "A rule or a classical model. A large model that does not beat it has not earned its cost.",
    "Canary": "A made-up predictor whose scores are known in advance, run through the same code as the models: it "
    "shows that the scoring itself is sound.",
    "Events": "Records with the positive label.",
}


def definition(metric: str) -> Definition:
    """The evaluation's definition; a metric it does not define is shown by its own key, as a plain number."""
    return METRICS.get(metric) or Definition(metric.replace("_", " ").capitalize(), None, False, "")
