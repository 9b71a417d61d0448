"""Numbers in English words: `twenty-six`, `a hundred and fifty`, `two thousand three hundred`."""

import re

ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = (
    {name: number for number, name in enumerate(["zero", *ONES, *TEENS])}
    | {name: 10 * tens for tens, name in enumerate(TENS, start=2)}
    | {"a": 1}
)
#: Patterns of numbers below a hundred, a thousand and a million.
SMALL = rf"(?:(?:{'|'.join(TENS)})(?:[\s-](?:{'|'.join(ONES)}))?|zero|{'|'.join([*TEENS, *ONES])})"
_HUNDREDS = rf"(?:(?:{SMALL}|a)\shundred(?:\s(?:and\s)?{SMALL})?|{SMALL})"
THOUSANDS = rf"(?:(?:{_HUNDREDS}|a)\sthousand(?:\s(?:and\s)?{_HUNDREDS})?|{_HUNDREDS})"


def spelt(words: str) -> int:
    """The number that words of one of the patterns name."""
    total = hundreds = 0
    for word in re.split(r"[\s-]+", words.casefold()):
        if word == "hundred":
            hundreds *= 100
        elif word == "thousand":
            total, hundreds = hundreds * 1000, 0
        else:
            hundreds += _WORDS.get(word, 0)
    return total + hundreds
