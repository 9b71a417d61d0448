"""Cleaning steps for text, each counted; training data and new data go through the same function.

Dropping records is apart (`records_to_drop`): it belongs to training data only, where the counts are reported. New
data to predict lose nothing.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from clinfit.data.deidentify import deidentified
from clinfit.data.mentions import patterns_of
from clinfit.data.records import Target, Value
from clinfit.study.data import Cleaning
from clinfit.study.lexicon import Lexicon

Columns = Mapping[str, Sequence[Value]]

_NUMBERS = r"\[\d{1,3}(?:\s*[-–,;]\s*\d{1,3})*\]"
#: [1], [2,3], [4-6]. Brackets that follow a number, or a word for a spread, give an interval ("64 years [55-72]",
#: "95% CI [1, 3]") and are kept.
NUMBERED_CITATION = re.compile(
    rf"(?P<interval>(?:\d|\b(?:CI|CrI|IQR|interval|range|median|mean)\b)[^\[\]\n.;]{{0,12}}{_NUMBERS})|[ \t]?{_NUMBERS}"
)
_AUTHORS = r"[A-Z][\w'’-]+(?:\s+et\s+al\.?,?|\s+(?:and|&)\s+[A-Z][\w'’-]+,?|,)"
#: (Smith et al., 2019), (Smith and Jones 2019; Lee, 2020a).
NAMED_CITATION = re.compile(rf"[ \t]?\({_AUTHORS}\s+(?:19|20)\d\d[a-z]?(?:;\s*{_AUTHORS}\s+(?:19|20)\d\d[a-z]?)*\)")

#: <ID:123>, PMID: 123, doi:10.1/x, and a copyright notice that ends its line (at most 200 characters of it).
METADATA = re.compile(
    r"<ID:\s*\w+>[ \t]*\n?"
    r"|\b(?:PMID|PMCID)\s*:?\s*(?:PMC)?\d+\.?"
    r"|\bdoi\s*:?\s*(?:https?://(?:dx\.)?doi\.org/)?10\.\d{4,9}/\S+"
    r"|https?://(?:dx\.)?doi\.org/10\.\S+"
    r"|(?:(?<=[.!?])[ \t]+|^[ \t]*)(?:Copyright\b|©|\([cC]\)\s*(?:19|20)\d\d)[^\n]{0,200}$",
    re.IGNORECASE | re.MULTILINE,
)


def strip_citations(text: str) -> str:
    """The text without reference marks: [1], [2,3], (Smith et al., 2019)."""
    return NAMED_CITATION.sub("", NUMBERED_CITATION.sub(lambda found: found["interval"] or "", text))


def strip_metadata(text: str) -> str:
    """The text without record numbers, PMID, DOI and copyright notices."""
    return METADATA.sub("", text)


def normalise_whitespace(text: str) -> str:
    """One space for a run of spaces, one line break for a run of breaks, none at the ends."""
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


#: Characters of scripts that are written without spaces between words: Thai to Khmer, Japanese, Chinese.
SPACELESS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def words_of(text: str) -> list[str]:
    """The words of a text, divided at any white space; of a script without spaces, its characters."""
    return SPACELESS.sub(r" \g<0> ", text).split()


def without_punctuation(text: str) -> str:
    """The case-folded words of a question or a name, every run of other than letters and digits one space.

    Nothing is left of a text without letters and digits.
    """
    return " ".join(words_of(re.sub(r"[\W_]+", " ", text.casefold())))


def normalised(text: str) -> str:
    """The text as duplicates are compared: as `without_punctuation`, but short values keep their signs, since `ER+` and
    `ER-` are not the same."""
    words = without_punctuation(text)
    return words if words.count(" ") >= 4 else " ".join(text.casefold().split())


def same_inputs_key(values: Iterable[Value]) -> tuple[Value, ...]:
    """Equal for records whose inputs are the same up to case, punctuation and spaces."""
    return tuple(normalised(value) if isinstance(value, str) else value for value in values)


def clean_inputs(
    columns: Columns,
    text_inputs: Sequence[str],
    clean: Cleaning,
    lexicon: Lexicon | None = None,
    reference: str | None = None,
) -> tuple[dict[str, list[Value]], dict[str, int]]:
    """The columns with their text inputs cleaned, and for each step that is on how many records it changed.

    columns: input name -> one value a record. A text that cleaning empties is missing (None). The steps are taken until
    none of them changes anything, so that what was cleaned once stays as it is. De-identification comes last, and looks
    at all texts of a record together. lexicon: of the task, for `mask_lexicon`. reference: a column that is cleaned as
    text inputs are, but whose names change nothing in them.
    """
    every: dict[str, Callable[[str], str]] = {
        "strip_citations": strip_citations,
        "strip_metadata": strip_metadata,
        "normalise_whitespace": normalise_whitespace,
        **({} if lexicon is None else {"mask_lexicon": patterns_of(lexicon).masked}),
    }
    steps = {name: step for name, step in every.items() if getattr(clean, name)}
    cleaned: dict[str, list[Value]] = {name: list(values) for name, values in columns.items()}
    changed: dict[str, set[int]] = {name: set() for name in steps}
    texts = [*text_inputs, *([] if reference is None else [reference])]
    for values in (cleaned[name] for name in texts):
        for at, value in enumerate(values):
            before: Value = None
            while isinstance(value, str) and value != before:
                before = value
                for name, step in steps.items():
                    after = step(value)
                    if after != value:
                        changed[name].add(at)
                    value = after
            values[at] = value or None if isinstance(value, str) else value
    counts = {name: len(positions) for name, positions in changed.items()}
    return cleaned, counts | ({"deidentify": _deidentify(cleaned, text_inputs, reference)} if clean.deidentify else {})


def _deidentify(columns: Mapping[str, list[Value]], text_inputs: Sequence[str], reference: str | None) -> int:
    """Puts placeholders into the texts, in place; how many records it changed."""
    changed = 0
    for at in range(len(next(iter(columns.values()), []))):
        texts = {name: text for name in text_inputs if isinstance(text := columns[name][at], str)}
        if reference is not None and isinstance(answer := columns[reference][at], str):
            after = deidentified(list(texts.values()), answer)
            texts[reference] = answer
        else:
            after = deidentified(list(texts.values()))
        changed += after != list(texts.values())
        for name, text in zip(texts, after, strict=True):
            columns[name][at] = text
    return changed


def records_to_drop(columns: Columns, targets: Sequence[Target], clean: Cleaning) -> dict[int, str]:
    """Position -> reason for each record that the cleaning drops.

    Reasons: `missing <input>`, `duplicate`, and `duplicate with another label`, for which the first record's label
    stays.
    """
    dropped: dict[int, str] = {}
    for name in clean.drop_missing:
        for at, value in enumerate(columns[name]):
            if value is None:
                dropped.setdefault(at, f"missing {name}")
    if clean.drop_duplicates:
        first: dict[tuple[Value, ...], int] = {}
        for at, values in enumerate(zip(*columns.values(), strict=True)):
            if at not in dropped:
                kept = first.setdefault(same_inputs_key(values), at)
                if kept != at:
                    same = targets[kept] == targets[at]
                    dropped[at] = "duplicate" if same else "duplicate with another label"
    return dropped
