"""The metric engine of each kind of task."""

from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.metrics.engine import Engine
from clinfit.evaluation.metrics.extraction import EXTRACTION
from clinfit.evaluation.metrics.generation import GENERATION
from clinfit.evaluation.metrics.multilabel import MULTILABEL
from clinfit.evaluation.metrics.multiple_choice import MULTIPLE_CHOICE

ENGINES: dict[str, Engine] = {
    "classification": CLASSIFICATION,
    "multilabel": MULTILABEL,
    "multiple-choice": MULTIPLE_CHOICE,
    "generation": GENERATION,
    "extraction": EXTRACTION,
}
