"""Records of requests: what waits in a job, and where spans stand in the text that was sent."""

import pytest

from clinfit.serve.records import as_item, positions, record_of
from clinfit.serve.settings import Settings
from clinfit.study.data import Cleaning, Data
from clinfit.study.tasks import Classification

TEXT = "Seen by Dr. Smith on 12/03/2020, phone 555-123-4567."


def test_what_waits_in_a_job_is_cleaned() -> None:
    """An input that is de-identified is so from the first moment that it is kept."""
    data = Data(path="none.csv", inputs={"text": "text"}, clean=Cleaning(deidentify=True))  # type: ignore[arg-type]
    task = Classification(labels=["no", "yes"], data=data)
    kept = str(as_item(record_of("fall", task, TEXT, 0, Settings())))
    assert "Smith" not in kept and "555" not in kept and "[NAME-1]" in kept


@pytest.mark.parametrize(
    ("read", "sent", "spans", "found"),
    [
        ("a b", "a b", [(0, 1), (2, 3)], [(0, 1), (2, 3)]),
        ("a b", "  a b", [(2, 3)], [(4, 5)]),
        ("[TYPE] in 40 a", "Breast cancer in 40 a", [(0, 12), (13, 14)], [(0, 19), (20, 21)]),
        ("[TYPE] in 40 a", "Breast cancer in 40 a", [(0, 6), (13, 14)], [None, (20, 21)]),
        ("A [TYPE]. Well.", "A lung cancer.  Well.", [(0, 9), (10, 15)], [(0, 14), (16, 21)]),
    ],
)
def test_spans_are_found_in_the_text_as_it_was_sent(read, sent, spans, found) -> None:
    assert positions(read, sent, spans) == found
