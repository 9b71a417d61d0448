"""Problems and drugs by the lexicon, and the lexicon itself."""

from importlib.resources import files

from clinfit.evaluation.metrics.text.entities import entities, entity_precision, entity_recall, lexicon, mentions


def test_names_of_one_entity_are_one() -> None:
    assert entities("heart attack") == entities("Myocardial infarction") != frozenset()
    assert entities("Tylenol") == entities("acetaminophen")
    assert entities("headaches") == entities("a headache")


def test_the_longest_name_counts() -> None:
    assert len(mentions("type 2 diabetes")) == 1
    assert entities("type 2 diabetes") != entities("diabetes")


def test_kinds() -> None:
    assert [mention.kind for mention in mentions("metformin for diabetes")] == ["drug", "problem"]


def test_precision_and_recall() -> None:
    source = "She has type 2 diabetes and asthma, takes metformin."
    assert entity_precision("diabetes on metformin", source) == 1.0  # the wider name stands in the source
    assert entity_precision("asthma and epilepsy", source) == 0.5
    assert entity_precision("well", source) is None
    assert entity_recall("asthma", ["asthma and gout", "nothing"]) == 0.5
    assert entity_recall("asthma", ["nothing"]) is None


def test_the_lexicon_and_its_card_agree() -> None:
    folder = files("clinfit.evaluation.metrics.text")
    lines = (folder / "lexicon.txt").read_text(encoding="utf-8").splitlines()
    card = (folder / "LEXICON.md").read_text(encoding="utf-8")
    names = sum(line.count("|") + 1 for line in lines)
    assert f"{len(lines):,} entities, {names:,} names" in card
    assert "CC BY 4.0" in card
    assert lines == sorted(lines) and {line.partition("\t")[0] for line in lines} == {"drug", "problem"}
    assert len(lexicon()) > 10_000
