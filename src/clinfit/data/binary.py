"""Whether a file is text at all: a single-byte encoding reads every byte, so that a picture would be a table without
rows."""

import codecs
from pathlib import Path

#: Bytes at the beginning of a file that are looked at.
BEGINNING = 1 << 16
#: Control characters that text has next to none of, and the share of them that a text may have: exports leave some in
#: notes, and of packed data one byte of ten is one.
CONTROLS = tuple(bytes([code]) for code in (*range(9), *range(14, 27), *range(28, 32)))
MOST_CONTROLS = 0.02
#: How files of UTF-16 and UTF-32 begin.
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def is_binary(path: Path, codec: str) -> bool:
    """Whether a file that is to be read with this codec is no text. UTF-16 and UTF-32, which are full of zero bytes,
    refuse by themselves what is not theirs."""
    with path.open("rb") as file:
        beginning = file.read(BEGINNING)
    wide = codec.startswith(("utf-16", "utf-32")) or beginning.startswith(WIDE)
    return not wide and sum(map(beginning.count, CONTROLS)) > MOST_CONTROLS * len(beginning)
