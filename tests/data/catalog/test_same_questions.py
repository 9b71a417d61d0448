"""Questions and diseases that differ in punctuation only are the same: none of them is in two splits."""

import io
import tarfile
from pathlib import Path
from typing import Any

from clinfit.data.catalog.entry import left_out
from clinfit.data.catalog.sets import CATALOG


def questions(path: Path, *asked: tuple[str, str]) -> Path:
    """asked: number and text of each question, which has one answer."""
    found = "".join(
        f'<Question QID="{number}"><QuestionText>{text}</QuestionText><AnswerList>'
        f'<Answer AID="{number}_1" SystemRank="1" ReferenceScore="4"><AnswerText>Yes.</AnswerText></Answer>'
        "</AnswerList></Question>"
        for number, text in asked
    )
    path.write_text(f"<NLM>{found}</NLM>")
    return path


def test_a_short_question_with_other_punctuation_is_not_learned_before_it_is_tested(tmp_path: Path) -> None:
    live = questions(tmp_path / "live.xml", ("1", "Can I fly with a cold?"), ("2", "What is gout?"))
    alexa = questions(tmp_path / "alexa.xml", ("1", "What is COPD?"), ("2", "What is flu?"))
    validation = questions(tmp_path / "validation.xml", ("1", "what is gout"))
    test = questions(tmp_path / "test.xml", ("1", "What is COPD ?"), ("2", "What is asthma?"))
    table = CATALOG["mediqa2019-qa"].read([live, alexa, validation, test])
    assert table["id"].tolist() == ["LiveQAMed-1_1", "Alexa-2_1", "validation-1_1", "test-1_1", "test-2_1"]
    assert left_out(table) == {"training question stands in validation or test": 2}


def focus_document(number: int, focus: str) -> bytes:
    pairs = "<QAPairs><QAPair pid='1'><Question qtype='information'>What is it?</Question><Answer>A.</Answer></QAPair>"
    return f"<Document id='{number}' source='S' url='u'><Focus>{focus}</Focus>{pairs}</QAPairs></Document>".encode()


def medquad_of(path: Path, *foci: str) -> Any:
    with tarfile.open(path, "w:gz") as archive:
        for number, focus in enumerate(foci):
            content = focus_document(number, focus)
            member = tarfile.TarInfo(f"1_S_QA/{number}.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return CATALOG["medquad"].read([path])


def test_a_disease_with_other_punctuation_is_in_the_same_split(tmp_path: Path) -> None:
    table = medquad_of(tmp_path / "a.tar.gz", "Graves' disease", "graves disease", "47, XYY", "47,XYY", "?")
    assert table["focus_group"].tolist() == ["graves disease"] * 2 + ["47 xyy"] * 2 + ["1_S_QA 4"]
    assert (table.groupby("focus_group")["split"].nunique() == 1).all()
