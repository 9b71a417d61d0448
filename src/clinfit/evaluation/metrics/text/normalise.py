"""Text as metrics compare it: tokens that keep what matters in medicine, and sentences.

The normaliser of SQuAD takes out punctuation and articles, so that `0.5 mg` becomes `05 mg` and `vitamin A` becomes
`vitamin`. Here numbers keep their decimal point and sign, and units, Greek letters, `ER+` and `ER-`, `(+)` and
`(-)`, arrows, comparisons (`<`, `<=`) and negations stay; `don't` is `do not`. Left out are case, other punctuation
(bullets, hyphens and dashes between words and in ranges among it), and articles.
"""

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache

#: Digits with separators of thousands or decimals; not the full stop that ends a sentence.
NUMBER = r"\d+(?:[.,\u00a0\u2009\u202f]\d+)*"
_SIGNED = rf"(?:(?<![^\W_])(?<![^\W_][.)\]%])[-+\u2212](?=\d))?{NUMBER}(?![^\W_])"
#: A minus that is no hyphen, bullet or dash: `(-)`, and one behind a word with nothing behind it: `troponin -, CK +`.
_NEGATIVE = r"(?<=[(\[])[-\u2212\u2013](?=[)\]])|(?<=[^\W_]\s)[-\u2212](?=\s*(?:[,;)\]]|\.(?!\d)|\Z)|[^\S\n]*\n)"
_ARROWS = r"[\u2190-\u21ff\u25b2\u25bc\u2b05-\u2b07]"
TOKEN = re.compile(
    rf"{_SIGNED}|[^\W_]+[+\-\u2212](?![^\W_])|[^\W_]+|[<>]=?|[%\u2030\u00b0\u00b1=\u2264\u2265]"
    rf"|\+/[-\u2212]|\+|{_NEGATIVE}|{_ARROWS}"
)
_ARTICLES = frozenset({"a", "an", "the"})
#: Words after which `a` is a name.
_LETTERED = frozenset(
    """vitamin hepatitis influenza group type protein grade class factor haemophilia hemophilia immunoglobulin ig
    streptococcus strep toxin stage part plan option answer""".split()
)
_CONTRACTIONS = [
    (re.compile(r"\bcan(?:['’]t|not)\b", re.I), "can not"),
    (re.compile(r"\bwon['’]t\b", re.I), "will not"),
    (re.compile(r"n['’]t\b", re.I), " not"),
    (re.compile(r"(?<=[^\W\d_])['’]s?\b", re.I), " "),
]
#: 5mg is 5 mg.
_GLUED = re.compile(r"(?<![^\W_])(\d[\d.,]*)(?=(?:[kmµμn]?g|mcg|[mdµμ]?l|[mc]m|[mµμn]?mol|IU|kcal|h)\b)", re.I)
_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2264": "<=", "\u2265": ">=", "\u00b5": "\u03bc"})

_ABBREVIATIONS = r"(?<!\b[A-Z])(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bSt)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bNo)"
_SENTENCE_END = re.compile(rf"(?:{_ABBREVIATIONS}\.|[!?\u3002\uff01\uff1f])[\"'”’)\]]*(?:\s+|$)|\s*\n\s*")
_SPEAKER = re.compile(r"^\s*[A-Z][\w' -]{0,30}:\s+")


def expanded(text: str) -> str:
    """The text in composed Unicode: `not` written out, no marks of possession, a space between number and unit."""
    text = unicodedata.normalize("NFC", text)
    for pattern, instead in _CONTRACTIONS:
        text = pattern.sub(instead, text)
    return _GLUED.sub(r"\1 ", text)


def value(number: str) -> Decimal | None:
    """The value of digits with separators; None for what is no single number, as in 1.2.3.

    `1,000` and `12,345.6` have thousands, `0,5` and `2,75` and `0,125` a decimal comma: a comma before three digits is
    one of thousands unless only zeros stand before it. Spaces that do not break divide thousands.
    """
    digits = re.sub(r"[\u00a0\u2009\u202f]", "", number.lstrip("+").replace("\u2212", "-"))
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits) and not re.match(r"-?0+,", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"-?\d{1,3}(?:(?:\.\d{3}){2,}|(?:\.\d{3})+,\d+)", digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"-?\d+,\d+", digits):
        digits = digits.replace(",", ".")
    return Decimal(digits) if re.fullmatch(r"-?\d+(?:\.\d+)?", digits) else None


def written(number: Decimal) -> str:
    """One form for one value: 0.50 and .5 are 0.5, 9.0 is 9."""
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


@lru_cache(maxsize=256)
def tokens(text: str) -> tuple[str, ...]:
    """The tokens that metrics compare: case-folded words, numbers in one form, and the signs that change a meaning."""
    text = expanded(text)
    found = list(TOKEN.finditer(text))
    kept: list[str] = []
    for at, token in enumerate(found):
        word = token[0]
        following = found[at + 1][0] if at + 1 < len(found) else ""
        if word.casefold() in _ARTICLES and _is_article(word, kept[-1] if kept else "", following, text, token.start()):
            continue
        kept.append(_one_form(word))
    return tuple(kept)


def normalise(text: str) -> str:
    """The tokens with one space between them: what exact match compares."""
    return " ".join(tokens(text))


@lru_cache(maxsize=256)
def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text: they end at `.`, `!` or `?` before a space, and at a line break."""
    parts: list[str] = []
    begin = 0
    for end in _SENTENCE_END.finditer(text):
        parts.append(text[begin : end.end()].strip())
        begin = end.end()
    parts.append(text[begin:].strip())
    return tuple(part for part in parts if re.search(r"[^\W_]", part))


def without_speaker(sentence: str) -> str:
    """The sentence without the name of who speaks: `Doctor: Any pain?` is `Any pain?`."""
    return _SPEAKER.sub("", sentence)


def _is_article(word: str, before: str, after: str, text: str, at: int) -> bool:
    """Whether a, an or the is an article here, and not a letter that names something (vitamin A, group A)."""
    if len(word) > 1:
        return word != "AN"
    if before in _LETTERED or not after[:1].isalpha():
        return False
    begins = not before or text[:at].rstrip()[-1:] in tuple(".!?:\n")
    return word == "a" or (begins and after[:1].islower())


def _one_form(word: str) -> str:
    if word[-1].isdigit() and re.fullmatch(rf"[-+\u2212]?{NUMBER}", word):
        number = value(word)
        return word if number is None else written(number)
    folded = unicodedata.normalize("NFC", word.translate(_SIGNS).casefold())
    return "\u00b1" if folded == "+/-" else folded
