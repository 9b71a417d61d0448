"""What the metrics and terms of a report mean, in plain words; titles and formulas come from the evaluation."""

from clinfit.evaluation.metrics.definitions import METRICS, Definition

#: What a clinician should read into a metric, and what not.
MEANINGS: dict[str, str] = {
    "accuracy": "Share of all records answered correctly. With rare events a rule that never finds one is highly "
    "accurate, so compare it with the majority baseline.",
    "balanced_accuracy": "Mean of the recalls of all labels; with two labels 50 % is chance.",
    "macro_f1": "Plain mean of the F1 of the labels: every label counts the same, however rare.",
    "macro_f1_declared": "The same over every label of the study, also those that the test set does not hold.",
    "weighted_f1": "F1 of the labels averaged by how common they are: the common labels decide it.",
    "micro_f1": "F1 over all answers at once: common labels decide it. Where a record has one label it differs from "
    "accuracy only if answers name no label.",
    "subset_accuracy": "Share of the records whose labels are all right, none missed and none too many. Strict: one "
    "label that is wrong among many spoils the record.",
    "hamming_loss": "Share of all yes-or-no answers, one for each record and label, that are wrong. With rare labels a "
    "system that gives no label at all has a low one.",
    "jaccard": "Labels that are right among all that a record has or was given, averaged over the records.",
    "example_f1": "F1 of the labels of one record, averaged over the records: every record counts the same.",
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
    "macro_auroc": "AUROC of each label against the rest, averaged: 0.5 is chance.",
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
    "calibration_slope": "Whether risks are too extreme or too moderate.",
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
    "field_f1": "Harmonic mean of precision and recall of the values of all fields together: fields with many values "
    "decide it.",
    "field_precision": "Of the values that were given, the share that the reference has.",
    "field_recall": "Of the values of the references, the share that was given.",
    "all_fields": "Share of the records in which every field is right. Strict: one wrong value spoils the record.",
    "valid_output": "Share of the answers that a program can read: one JSON object with the declared fields and no "
    "other. It says nothing of whether the values are true.",
    "not_json": "Answers that are no JSON object, or have words around it.",
    "missing_field": "Answers that leave out a field that every record has.",
    "extra_field": "Answers with a field that nobody asked for, or with one twice.",
    "wrong_type": "Answers with a value of another type, such as a number in quotes.",
    "outside_list": "Answers with a value that is none of those that the study lists.",
    "exact_match_raw": "The text is the reference to the letter.",
    "exact_match": "The text says what the reference says, word for word, but for case, punctuation and articles.",
    "token_f1": "How many words text and reference share. A proxy: other words for the same thing count as wrong, and "
    "one wrong number hardly shows.",
    "rouge1": "Shared words. A proxy, as token F1.",
    "rouge2": "Shared pairs of words. A proxy, as token F1.",
    "rougeL": "The longest sequence of words that both have, in order. A proxy, as token F1; papers on summaries give "
    "it.",
    "rougeLsum": "The same sentence by sentence.",
    "chrf": "Shared runs of letters: kinder to other endings of a word. A proxy.",
    "number_precision": "Of the numbers in a text, the share that its source holds. A proxy: a number may be right and "
    "worked out, or stand in the source for something else.",
    "unsupported_numbers": "Numbers of a text that its source does not hold, a text. A proxy.",
    "number_recall": "Of the numbers of the reference, the share that the text has.",
    "entity_precision": "Of the diseases and drugs that a text names, the share that its source names. A proxy by a "
    "lexicon.",
    "entity_recall": "Of the diseases and drugs of the reference, the share that the text names. A proxy by a lexicon.",
    "bertscore": "How alike text and reference are to an encoder, word by word. A proxy: a denial or another number "
    "hardly changes it.",
    "nli": "How far a classifier of sentences finds a text entailed by its source, -1 to 1. A proxy: such classifiers "
    "know little of medicine.",
    "alignscore": "How far a classifier finds a text supported by its source, 0 to 1. A proxy: such classifiers know "
    "little of medicine.",
    "negation_flips": "Findings that the text denies and its source affirms, or the other way round, a text. A proxy "
    "by rules.",
    "laterality_flips": "Left that became right, or right that became left, a text. A proxy by rules.",
    "subject_flips": "What is the patient's in one and a relative's in the other, a text. A proxy by rules.",
    "negation_flips_reference": "The same against the reference.",
    "laterality_flips_reference": "The same against the reference.",
    "subject_flips_reference": "The same against the reference.",
    "unsupported_sentences": "Share of the sentences of a text of whose words the source has few. A proxy: only words "
    "are looked at.",
    "coverage": "How much of a text is copied. Copying is faithful, and may be no summary.",
    "density": "How long the copied stretches are.",
    "compression": "How much shorter than its source a text is.",
    "novel_bigrams": "How much of a text is worded anew.",
    "length_ratio": "1 is as long as the reference.",
    "empty": "Texts that say nothing.",
    "cut_off": "Texts that ended because no more tokens were allowed, in the middle of what they say.",
    "preamble": "Texts that begin with talk about the answer (`Sure, here is`).",
    "repeated_ngrams": "How much of a text it has said before.",
    "perplexity": "Among how many equally likely tokens the model seems to guess at every token of the references. "
    "Comparable between models with one tokenizer only; it says nothing of what the model writes.",
    "bits_per_byte": "The same in a unit that does not hang on the tokenizer.",
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
    "Chance level": "What guessing evenly among the options would give, without reading anything.",
    "Canary": "A made-up predictor whose scores are known in advance, run through the same code as the models: it "
    "shows that the scoring itself is sound.",
    "Events": "Records with the positive label.",
}

#: Metric -> what it says, in a few words: beneath the main table.
BRIEFLY: dict[str, str] = {
    "accuracy": "share of all records answered right",
    "balanced_accuracy": "mean of the shares found of each label",
    "macro_f1": "F1, which sums up precision and recall, as the plain mean of the labels",
    "micro_f1": "F1 over all answers at once: common labels decide it",
    "macro_auroc": "how well each label is ranked above the rest: 0.5 is chance, 1 perfect",
    "subset_accuracy": "records whose labels are all right",
    "hamming_loss": "share of all yes-or-no answers that are wrong",
    "f1": "sums up precision and recall",
    "sensitivity": "of the truly positive, the share that is found",
    "specificity": "of the truly negative, the share that is left alone",
    "ppv": "of those flagged, the share that is truly positive",
    "npv": "of those not flagged, the share that is truly negative",
    "auroc": "how well records are ranked: 0.5 is chance, 1 perfect",
    "auprc": "precision averaged over all thresholds; chance is the prevalence",
    "brier": "squared distance of probability and outcome: 0 is perfect",
    "brier_sum": "squared distance of probabilities and truth: 0 is perfect",
    "log_loss": "surprise at the truth: 0 is perfect, confident errors count most",
    "calibration_intercept": "0 is right; below 0 risks are too high on the whole, above 0 too low",
    "calibration_slope": "1 is right; below 1 risks are too extreme, above 1 too moderate",
    "classwise_ece": "mean gap of probability and observed share: 0 is perfect",
    "unparsed": "answers in which no label could be read; they count as wrong",
    "token_f1": "how many words text and reference share; other words for the same count as wrong",
    "rougeL": "the longest sequence of words that text and reference share",
    "number_precision": "of the numbers in a text, those that its source holds",
    "entity_recall": "of the diseases and drugs of the reference, those that the text names",
    "unsupported_sentences": "sentences of whose words the source has few",
    "cut_off": "texts that ended because no more tokens were allowed",
    "perplexity": "among how many tokens the model seems to guess; 1 is perfect",
}

#: Term -> a few plain words, put where it first stands in running text. Longer terms first, where one holds another.
GLOSSES: dict[str, str] = {
    "McNemar": "a test on the records of which just one of the two systems is right",
    "DeLong": "a test of two AUROCs on the same records",
    "paired bootstrap": "a test that weighs the same records anew, many times, for both systems",
    "Holm": "corrected for the number of comparisons",
    "label mass": "how much of its probability a language model puts on the labels at all",
    "canaries": "made-up predictors whose scores are known in advance",
    "balance gap": "distance of sensitivity and specificity",
    "AUROC": "how well records are ranked: 0.5 is chance, 1 perfect",
    "macro F1": "F1, which sums up precision and recall, as the plain mean of the labels",
    "calibration": "whether probabilities come true",
    "youden": "the threshold at which sensitivity and specificity add up to most",
    "net benefit": "right alarms minus false ones, weighed by how much a missed event matters",
    "standardised difference": "difference in standard deviations",
    "fine-tuning": "training a ready model further on the study's records",
    "recalibration": "correcting the probabilities on validation records",
    "baseline": "the simple system that others have to beat",
    "conformal": "made so that they hold the truth as often as promised",
    "Stuart and Maxwell": "a test whether two distributions over letters are the same",
}


def definition(metric: str) -> Definition:
    """The evaluation's definition; a metric it does not define is shown by its own key, as a plain number."""
    return METRICS.get(metric) or Definition(metric.replace("_", " ").capitalize(), None, False, "")
