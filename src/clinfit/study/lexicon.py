"""A lexicon: the names by which texts call the labels of a task. Those in `lexicons/` are known by name."""

from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, model_validator

from clinfit.study.section import Section


class LexiconType(Section):
    """The names of one label."""

    names: list[str] = Field(
        default_factory=list,
        description="names of their own, with their synonyms; one of capitals only is found as it stands, others "
        "whatever their case",
    )
    places: list[str] = Field(
        default_factory=list, description="words that are a name together with one of `heads`: lung, of lung cancer"
    )

    @model_validator(mode="after")
    def _named(self) -> "LexiconType":
        if not (self.names or self.places):
            raise ValueError("a type needs names or places")
        return self


class Lexicon(Section):
    """The names of labels; data/mentions.py says how they are found."""

    name: str = Field(description="what it is called")
    types: dict[str, LexiconType] = Field(min_length=2, description="label -> its names")
    heads: list[str] = Field(default_factory=list, description="words that make a name of a place: cancer, carcinoma")
    between: list[str] = Field(
        default_factory=list, description="words that may stand between a place and its head, beside other places"
    )
    negations: list[str] = Field(
        default_factory=list, description="words that deny a name which follows them within the same clause"
    )

    @model_validator(mode="after")
    def _complete(self) -> "Lexicon":
        words = [*self.heads, *self.between, *self.negations]
        words += [word for known in self.types.values() for word in (*known.names, *known.places)]
        if any(not word.strip() for word in words):
            raise ValueError("a name may not be empty")
        if any(word.casefold() == "type" for word in words):
            raise ValueError("`type` is what masked names become, and no name")
        if not self.heads and (placed := [name for name, known in self.types.items() if known.places]):
            raise ValueError(f"`places` of {placed[0]!r} need `heads`: cancer, carcinoma")
        return self


#: The lexicons that clinfit brings along.
KNOWN = ("cancer-types",)


@lru_cache(maxsize=len(KNOWN))
def known_lexicon(name: str) -> Lexicon:
    """A lexicon of KNOWN."""
    text = (files("clinfit.study.lexicons") / f"{name}.yaml").read_text(encoding="utf-8")
    return Lexicon.model_validate(yaml.safe_load(text))


def _named(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in KNOWN:
        raise ValueError(f"no lexicon is called {value!r}; known: {', '.join(KNOWN)}; or write a block with `types`")
    return known_lexicon(value)


#: As a study gives it: the name of a known one, or a block. Loading replaces the name by the block, so that packs
#: carry it.
NamedLexicon = Annotated[Lexicon, BeforeValidator(_named, json_schema_input_type=Lexicon | str)]
