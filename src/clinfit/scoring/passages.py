"""Sixteen short passages of everyday prose, written for this project: what no model was trained on."""

from functools import cache
from importlib import resources


@cache
def passages() -> list[str]:
    text = resources.files("clinfit.scoring").joinpath("passages.txt").read_text(encoding="utf-8")
    return [passage.strip() for passage in text.split("\n\n") if passage.strip()]
