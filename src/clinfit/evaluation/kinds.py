"""What is evaluated of each kind of task: its decision rule, its checks, and the analyses that make its sections.

A new analysis is one function and one line here; its name is the name of the section in metrics.json (`results.py`,
`system_results.py`). A function that only checks gives no section.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.analyses.abstention import abstention
from clinfit.evaluation.analyses.canaries import canaries
from clinfit.evaluation.analyses.characteristics import characteristics
from clinfit.evaluation.analyses.classes import (
    classes,
    confusion_matrix,
    label_sets,
    withheld_counts,
    withheld_label_sets,
)
from clinfit.evaluation.analyses.contrast import contrast
from clinfit.evaluation.analyses.cost import pareto_front
from clinfit.evaluation.analyses.curves import curves_section
from clinfit.evaluation.analyses.errors import errors
from clinfit.evaluation.analyses.external import external
from clinfit.evaluation.analyses.extracted import extracted
from clinfit.evaluation.analyses.field_canaries import field_canaries
from clinfit.evaluation.analyses.folds import cross_validation, folds, folds_of_sets, folds_of_texts
from clinfit.evaluation.analyses.freeze import freeze
from clinfit.evaluation.analyses.generated import generated
from clinfit.evaluation.analyses.importance import importance, weights
from clinfit.evaluation.analyses.label_errors import label_errors
from clinfit.evaluation.analyses.label_set_canaries import label_set_canaries
from clinfit.evaluation.analyses.language import language
from clinfit.evaluation.analyses.leakage import leakage, leakage_counts
from clinfit.evaluation.analyses.options import chance, positions, scorings
from clinfit.evaluation.analyses.set_errors import set_errors
from clinfit.evaluation.analyses.shift import shift
from clinfit.evaluation.analyses.stages import stages
from clinfit.evaluation.analyses.subgroups import subgroups
from clinfit.evaluation.analyses.text_canaries import text_canaries
from clinfit.evaluation.analyses.texts import (
    doubtful_texts,
    free_baselines,
    text_metrics,
    withheld_texts,
    written,
)
from clinfit.evaluation.checks import items, probabilities, study, systems
from clinfit.evaluation.checks.remote import check_remote
from clinfit.evaluation.checks.search import check_search
from clinfit.evaluation.checks.shortened import check_shortened
from clinfit.evaluation.claims.pairs import check_declared
from clinfit.evaluation.context import Analysis, Check, Context, SystemAnalysis
from clinfit.evaluation.decisions import analyses as decisions
from clinfit.evaluation.decisions.decide import decide, decide_text
from clinfit.evaluation.decisions.label_thresholds import check_label_validation, decide_labels, label_thresholds
from clinfit.evaluation.measure import Decide
from clinfit.evaluation.systems import System


@dataclass(frozen=True)
class Kind:
    """decide: from probabilities to answers. checks: before any number; an error withholds the numbers.

    systems: of each system. analyses: of the task as a whole. withheld, withheld_system: what remains where the numbers
    are withheld; the latter gets the reason.
    """

    decide: Decide
    checks: Mapping[str, Check]
    systems: Mapping[str, SystemAnalysis]
    analyses: Mapping[str, Analysis]
    withheld: Mapping[str, Check]
    withheld_system: Callable[[Context, System, str], dict[str, Any]]


#: Of every kind; OF_LABELS only where answers are labels.
CHECKS: Mapping[str, Check] = {
    "runs": study.check_runs,
    "contamination": study.check_contamination,
    "search": check_search,
    "primary": study.check_primary,
    "labels": items.check_labels,
    "items": items.check_same_items,
    "groups": items.check_groups,
    "missing_probabilities": probabilities.check_missing,
    "hard_probabilities": probabilities.check_hard,
    "shortened": check_shortened,
    "characteristics": characteristics,
    "shift": shift,
    "freeze": freeze,
    "declared": check_declared,
}
SYSTEMS: Mapping[str, SystemAnalysis] = {
    "unparsed": systems.check_unparsed,
    "floors": systems.check_floors,
    "informative": systems.check_informative,
    "language": language,
    "remote": check_remote,
}
ANALYSES: Mapping[str, Analysis] = {
    "choice": study.check_choice,
    "leakage": leakage,
    "subgroups": subgroups,
    "pareto": pareto_front,
    "stages": stages,
    "external": external,
}

OF_LABELS = {"labels", "missing_probabilities", "hard_probabilities", "unparsed"}

CLASSIFICATION = Kind(
    decide=decide,
    checks={
        **CHECKS,
        "cross_validation": cross_validation,
        "comparator": study.check_comparator,
        "test_labels": items.check_test_labels,
        "canaries": canaries,
    },
    systems={
        **SYSTEMS,
        "predictions": systems.check_predictions,
        "constant": probabilities.check_constant,
        "direction": probabilities.check_direction,
        "label_mass": systems.check_label_mass,
        "folds": folds,
        "threshold": decisions.threshold,
        "refit": decisions.refit,
        "classes": classes,
        "confusion": confusion_matrix,
        "curves": curves_section,
        "recalibration": decisions.recalibration,
        "referral": decisions.referral,
        "selective": decisions.selective,
        "conformal": decisions.conformal,
        "generated": generated,
        "importance": importance,
        "weights": weights,
    },
    analyses={
        "validation": decisions.check_validation,
        **ANALYSES,
        "errors": errors,
        "label_errors": label_errors,
    },
    withheld={"leakage": leakage_counts},
    withheld_system=withheld_counts,
)

MULTILABEL = Kind(
    decide=decide_labels,
    checks={
        **CHECKS,
        "cross_validation": cross_validation,
        "comparator": study.check_comparator,
        "test_labels": items.check_test_label_sets,
        "canaries": label_set_canaries,
    },
    systems={
        **SYSTEMS,
        "predictions": systems.check_label_sets,
        "folds": folds_of_sets,
        "label_thresholds": label_thresholds,
        "recalibration": decisions.recalibration_of_labels,
        "refit": decisions.refit_labels,
        "classes": label_sets,
        "importance": importance,
        "weights": weights,
    },
    analyses={"validation": check_label_validation, **ANALYSES, "set_errors": set_errors},
    withheld={"leakage": leakage_counts},
    withheld_system=withheld_label_sets,
)

MULTIPLE_CHOICE = Kind(
    decide=decide,
    checks={
        **CHECKS,
        "cross_validation": cross_validation,
        "test_labels": items.check_test_questions,
        "canaries": canaries,
    },
    systems={
        **SYSTEMS,
        "label_mass": systems.check_label_mass,
        "folds": folds,
        "refit": decisions.refit_option,
        "classes": classes,
        "confusion": confusion_matrix,
        "scorings": scorings,
        "positions": positions,
        "recalibration": decisions.recalibration,
        "selective": decisions.selective,
        "generated": generated,
    },
    analyses={"chance": chance, **ANALYSES, "errors": errors, "label_errors": label_errors},
    withheld={"leakage": leakage_counts},
    withheld_system=withheld_counts,
)

GENERATION = Kind(
    decide=decide_text,
    checks={
        **{name: check for name, check in CHECKS.items() if name not in OF_LABELS},
        "cross_validation": cross_validation,
        "comparator": study.check_comparator,
        "scored": items.check_scored,
        "unscored": items.check_unscored,
        "test_texts": items.check_test_texts,
        "canaries": text_canaries,
    },
    systems={
        **{name: analysis for name, analysis in SYSTEMS.items() if name not in OF_LABELS},
        "folds": folds_of_texts,
        "refit": decisions.refit_text,
        "written": written,
        "abstention": abstention,
        "contrast": contrast,
    },
    analyses={
        "text_metrics": text_metrics,
        "free_baselines": free_baselines,
        **ANALYSES,
        "doubtful_texts": doubtful_texts,
    },
    withheld={"leakage": leakage_counts},
    withheld_system=withheld_texts,
)

EXTRACTION = Kind(
    decide=decide_text,
    checks={**GENERATION.checks, "canaries": field_canaries},
    systems={
        **{name: analysis for name, analysis in SYSTEMS.items() if name not in OF_LABELS},
        "folds": folds_of_texts,
        "refit": decisions.refit_text,
        "extracted": extracted,
    },
    analyses={"free_baselines": free_baselines, **ANALYSES},
    withheld={"leakage": leakage_counts},
    withheld_system=withheld_texts,
)

KINDS: Mapping[str, Kind] = {
    "classification": CLASSIFICATION,
    "multilabel": MULTILABEL,
    "multiple-choice": MULTIPLE_CHOICE,
    "generation": GENERATION,
    "extraction": EXTRACTION,
}
