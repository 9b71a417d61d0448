"""Rules that write texts: what a model that writes has to beat. None of them reads a reference of the record asked.

copy     the source as it is, cut at a number of words
lead     the first sentences of the source: hard to beat where a text says first what matters (See et al., 2017)
nearest  the reference of the training record whose source is most similar: TF-IDF of words and word pairs, cosine
majority of extraction: the most frequent value of each field, whatever the record
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from clinfit.data.fields import FieldValue, canonical
from clinfit.data.records import Record
from clinfit.data.values import SMALL_CELL
from clinfit.models.tabular.features import document
from clinfit.prompts.pieces import SENTENCE_END
from clinfit.study.fields import ExtractedField
from clinfit.study.models import Baseline
from clinfit.study.tasks import Extraction, Writing

#: Similarities that are held at once, of 8 bytes each: those of all records asked to all of training may fill a memory.
MOST_CELLS = 2**24


@dataclass(frozen=True)
class Examples:
    """Training records that a rule knows: sources and references, one behind the other in the order of training."""

    sources: list[str]
    references: list[str]

    @cached_property
    def _fitted(self) -> tuple[TfidfVectorizer, Any]:
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        return vectorizer, vectorizer.fit_transform(self.sources)

    def nearest(self, sources: Sequence[str]) -> list[str]:
        """The reference of the most similar source for each; of equally similar ones the first."""
        if not sources or not any(re.search(r"\w", source) for source in self.sources):
            return [""] * len(sources)
        vectorizer, known = self._fitted
        asked, rows = vectorizer.transform(sources), max(1, MOST_CELLS // len(self.sources))
        found: list[str] = []
        for start in range(0, len(sources), rows):
            similar = np.asarray((asked[start : start + rows] @ known.T).todense())
            found += [self.references[at] for at in similar.argmax(axis=1)]
        return found


def usual_object(task: Extraction, train: Sequence[Record]) -> Examples:
    """What `majority` keeps: the most frequent value of each field; of equally frequent ones the first of training.

    Nobody should be recognised by it: of values that the study does not itself name, only those that SMALL_CELL people
    (groups of records) share are told, and EMPTY stands where there is none.
    """
    objects = [(record.group, json.loads(str(record.target))) for record in train]
    values = {
        name: _usual([(group, each[name]) for group, each in objects], field) for name, field in task.declared.items()
    }
    return Examples([], [canonical(values)])


def _usual(values: Sequence[tuple[str, Any]], field: ExtractedField) -> FieldValue:
    """values: of every record, each with its group."""
    texts = [(group, json.dumps(value)) for group, value in values]
    counts, people = Counter(text for _, text in texts), Counter(text for _, text in {*texts})
    told = [text for text in counts if people[text] >= SMALL_CELL or _tells_nothing(field)]
    if told:
        return json.loads(max(told, key=counts.__getitem__))
    return EMPTY[field.type] if field.values is None or field.type == "list" else field.values[0]


def _tells_nothing(field: ExtractedField) -> bool:
    """Whether a value is one of those that the study itself names."""
    return field.type == "boolean" or field.values is not None


#: What stands where no value may be told, or none is known.
EMPTY: Mapping[str, FieldValue] = {"string": "", "number": 0, "integer": 0, "boolean": False, "list": []}


def examples_of(task: Writing, train: Sequence[Record]) -> Examples:
    """What `nearest` keeps of the training records."""
    return Examples(source_texts(task, train), [str(record.target) for record in train])


def source_texts(task: Writing, records: Sequence[Record]) -> list[str]:
    """The text inputs among the sources of each record, one a line; of a task whose sources hold none, all texts."""
    texts = [name for name in task.sources if name in task.text_inputs] or task.text_inputs
    return [document(record, texts) for record in records]


def _copied(spec: Baseline, task: Writing, sources: Sequence[str], known: Examples | None) -> list[str]:
    most = spec.most_words or task.max_new_tokens
    return [_first_words(source, most) for source in sources]


def _led(spec: Baseline, task: Writing, sources: Sequence[str], known: Examples | None) -> list[str]:
    return [" ".join([part for part in SENTENCE_END.split(source) if part][: spec.sentences]) for source in sources]


def _nearest(spec: Baseline, task: Writing, sources: Sequence[str], known: Examples | None) -> list[str]:
    return [""] * len(sources) if known is None or not known.sources else known.nearest(sources)


def _most_frequent(spec: Baseline, task: Writing, sources: Sequence[str], known: Examples | None) -> list[str]:
    assert isinstance(task, Extraction)
    (text,) = (known or usual_object(task, [])).references
    return [text] * len(sources)


RULES: Mapping[str, Callable[[Baseline, Writing, Sequence[str], Examples | None], list[str]]] = {
    "copy": _copied,
    "lead": _led,
    "nearest": _nearest,
    "majority": _most_frequent,
}


def _first_words(text: str, most: int) -> str:
    """The text up to its word of that number, white space as it is."""
    words = list(re.finditer(r"\S+", text))
    return text if len(words) <= most else text[: words[most - 1].end()]
