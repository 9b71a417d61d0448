"""Declining is recognised by phrases in the first sentence, and by nothing else."""

import pytest

from clinfit.evaluation.metrics.text.declining import declines
from clinfit.study.evaluation import DECLINING


@pytest.mark.parametrize(
    "text",
    [
        "I can't answer this.",
        "I cannot answer the question, since no abstract was given.",
        "Sorry, I'm unable to answer.",
        "There is NOT ENOUGH information",
        "The abstract does not say whether it helps.",
        "I don't know.",
        "I'm sorry. I cannot answer this.",
        "My apologies! The abstract does not say.",
    ],
)
def test_declining(text: str) -> None:
    assert declines(text, DECLINING)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes.",
        "There is insufficient evidence that it helps.",
        "Patients do not know the risk.",
        "No information bias was found.",
        "It helps. I do not know of harm.",
        "Mortality cannot be predicted from age.",
        "The cause remains unknown.",
        "enough information not",
        "I'm sorry. It helps. I do not know of harm.",
        "I am sorry that I asked you so late in the day. I do not know.",
    ],
)
def test_answers(text: str) -> None:
    assert not declines(text, DECLINING)


def test_the_list_is_the_studys() -> None:
    assert declines("Keine Angabe.", ["keine Angabe"]) and not declines("I do not know.", ["keine Angabe"])


def test_a_phrase_of_articles_stands_nowhere() -> None:
    assert not declines("The drug is warfarin.", ["the"])
