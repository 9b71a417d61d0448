"""Texts on a page for people, and their scores read back."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

from clinfit.errors import ClinfitError
from clinfit.evaluation.readings import CRITERIA, Disagreement, Reading
from clinfit.files import read_json
from clinfit.report.reading import RATINGS_FORMAT
from clinfit.report.reading_result import reading_lines
from clinfit.runs.execute import run
from clinfit.runs.folder import RunFolder
from clinfit.runs.reading import Page, Wanted, read_ratings, write_reading
from clinfit.study.load import load_study

RULES = ("copy", "lead", "nearest")
SECRET = "zebra"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("texts")
    rows = [
        {"id": f"r{k}", "text": f"Case <{k}> of a {SECRET}. Seen {k % 7} times.", "note": f"Seen {k % 7} times"}
        for k in range(60)
    ]
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    content = {
        "name": "notes",
        "tasks": {
            "note": {
                "kind": "generation",
                "data": {"path": "data.csv", "id": "id", "inputs": {"text": "text"}, "label": "note"},
            }
        },
        "models": [{"name": rule, "family": "baseline", "kind": rule} for rule in RULES],
        "evaluation": {"bootstrap": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    result = run(folder / "study.yaml", out=folder / "run", console=Console(quiet=True))
    assert result.ok
    return RunFolder(result.folder)


def made(done: RunFolder, path: Path, **wanted: Any) -> Page:
    return write_reading(done, load_study(done.study), Wanted(**wanted), path)


def key_of(done: RunFolder) -> tuple[str, dict[str, list[str]]]:
    """The page that was written last, and who wrote what on it."""
    path = max(
        (p for p in (done.path / "reading").glob("*.json") if "result" not in p.name),
        key=lambda p: p.stat().st_mtime_ns,
    )
    return path.stem, read_json(path)["order"]


def scores(done: RunFolder, path: Path, by: str, **changes: Any) -> Path:
    """What a rater saves who gives `copy` the best scores and all others the worst."""
    page, order = key_of(done)
    given = [
        {
            "id": id,
            "place": place,
            "scores": {c.name: len(c.scale) if writer == "copy" else 1 for c in CRITERIA},
        }
        for id, names in order.items()
        for place, writer in enumerate(names)
    ]
    content = {"format": RATINGS_FORMAT, "page": page, "rater": by, "ratings": given} | changes
    path.write_text(json.dumps(content))
    return path


def test_the_page_shows_texts_and_hides_who_wrote_them(done: RunFolder, tmp_path: Path) -> None:
    page = made(done, tmp_path / "page.html", count=5)
    text = page.path.read_text(encoding="utf-8")
    assert page.records == 5 and sorted(page.systems) == sorted(RULES)
    assert SECRET in text and "Case &lt;" in text and "holds text of records" in text
    assert not [rule for rule in RULES if f">{rule}<" in text or f'"{rule}"' in text]
    assert text.count("<article") == 5 and text.count('class="answer"') == 15
    _, order = key_of(done)
    assert len({tuple(names) for names in order.values()}) > 1, "the order differs from record to record"
    kept = list((done.path / "reading").iterdir())
    assert kept and not [path for path in kept if SECRET in path.read_text(encoding="utf-8")]


def test_the_same_seed_draws_the_same_page(done: RunFolder, tmp_path: Path) -> None:
    pages = [made(done, tmp_path / name, seed=seed).path.read_bytes() for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert pages[0] == pages[1] != pages[2]


def test_scores_come_back_with_the_names(done: RunFolder, tmp_path: Path) -> None:
    made(done, tmp_path / "page.html", count=8)
    files = [scores(done, tmp_path / f"{rater}.json", rater) for rater in ("AB", "CD")]
    found = read_ratings(done, files)
    assert found["texts"] == 24 and found["raters"] == {"AB": 24, "CD": 24}
    for criterion in CRITERIA:
        means = {r["system"]: r["mean"] for r in found["systems"] if r["criterion"] == criterion.name}
        assert means == {"copy": len(criterion.scale), "lead": 1, "nearest": 1}
    assert all(agreed["kappa"] == pytest.approx(1) for agreed in found["agreement"])
    page, _ = key_of(done)
    assert read_json(done.path / "reading" / f"{page}-result.json") == found
    said = "\n".join(reading_lines(found))
    assert "copy: 5.00" in said and "weighted kappa 1.00" in said and "far apart" not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "no scores of a named rater"),
        ({"rater": " "}, "no scores of a named rater"),
        ({"page": "0" * 16}, "was not made from"),
        ({"ratings": [{"id": "r999", "place": 0, "scores": {"harm": 1}}]}, "not on its page"),
        ({"ratings": []}, "holds no score"),
    ],
)
def test_files_that_do_not_fit_are_refused(done: RunFolder, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    made(done, tmp_path / "page.html", count=2)
    with pytest.raises(ClinfitError, match=said):
        read_ratings(done, [scores(done, tmp_path / "x.json", "AB", **changes)])


def test_scores_outside_their_scale_are_refused(done: RunFolder, tmp_path: Path) -> None:
    made(done, tmp_path / "page.html", count=2)
    _, order = key_of(done)
    wrong = [{"id": next(iter(order)), "place": 0, "scores": {"harm": 4}}]
    with pytest.raises(ClinfitError, match="harm 4"):
        read_ratings(done, [scores(done, tmp_path / "x.json", "AB", ratings=wrong)])
    (tmp_path / "no.json").write_text("not json")
    with pytest.raises(ClinfitError, match="no scores of a named rater: the file: "):
        read_ratings(done, [tmp_path / "no.json"])


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"page": "../reading/pg"}, "page"),
        ({"page": "0" * 16 + "\n"}, "page"),
        ({"page": "f" * 5000}, "page"),
        ({"ratings": {}}, "ratings"),
        ({"ratings": [7]}, "ratings.0"),
        ({"ratings": [{"id": "r1"}]}, "ratings.0.place"),
        ({"ratings": [{"id": 1, "place": 0, "scores": {}}]}, "ratings.0.id"),
        ({"ratings": [{"id": "r1", "place": "x", "scores": {}}]}, "ratings.0.place"),
        ({"ratings": [{"id": "r1", "place": None, "scores": {}}]}, "ratings.0.place"),
        ({"ratings": [{"id": "r1", "place": True, "scores": {}}]}, "ratings.0.place"),
        ({"ratings": [{"id": "r1", "place": 0, "scores": [1]}]}, "ratings.0.scores"),
        ({"ratings": [{"id": "r1", "place": 0, "scores": {"harm": True}}]}, "ratings.0.scores.harm"),
        ({"ratings": [{"id": "r1", "place": 0, "scores": {"harm": 2.0}}]}, "ratings.0.scores.harm"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(
    done: RunFolder, tmp_path: Path, changes: dict[str, Any], at: str
) -> None:
    made(done, tmp_path / "page.html", count=2)
    kept = {path.name for path in (done.path / "reading").iterdir()}
    path = scores(done, tmp_path / "x.json", "AB", **changes)
    with pytest.raises(ClinfitError) as caught:
        read_ratings(done, [path])
    assert f"{path} holds no scores of a named rater: {at}: " in caught.value.found and caught.value.expected
    assert {path.name for path in (done.path / "reading").iterdir()} == kept


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe{", b"[" * 100_000, b'{"page": ' + b"1" * 5000 + b"}"])
def test_what_is_no_form_at_all_is_refused(done: RunFolder, tmp_path: Path, content: bytes) -> None:
    made(done, tmp_path / "page.html", count=2)
    (tmp_path / "x.json").write_bytes(content)
    for path in (tmp_path / "x.json", tmp_path / "absent.json", tmp_path):
        with pytest.raises(ClinfitError, match=str(path)):
            read_ratings(done, [path])


def test_a_byte_order_mark_is_no_fault(done: RunFolder, tmp_path: Path) -> None:
    made(done, tmp_path / "page.html", count=2)
    path = scores(done, tmp_path / "x.json", "AB")
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_ratings(done, [path])["raters"] == {"AB": 6}


def test_disagreements_on_harm_are_shown_first_and_then_the_widest() -> None:
    def far(id: str, criterion: str, *scores: int) -> Disagreement:
        return Disagreement(id=id, system="copy", criterion=criterion, raters=["AB", "CD"], scores=list(scores))

    found = [*(far(f"c{k}", "correctness", 1, 3) for k in range(30)), far("wide", "fluency", 5, 1)]
    found += [far("mild", "harm", 2, 3), far("serious", "harm", 3, 1)]
    said = list(reading_lines(Reading(texts=40, raters={}, systems=[], agreement=[], disagreements=found)))
    assert [line.split()[1].rstrip(",") for line in said[1:5]] == ["serious", "mild", "wide", "c0"]


def test_one_rater_is_counted_once(done: RunFolder, tmp_path: Path) -> None:
    made(done, tmp_path / "page.html", count=2)
    files = [scores(done, tmp_path / name, "AB") for name in ("x.json", "y.json")]
    with pytest.raises(ClinfitError, match="same rater"):
        read_ratings(done, files)


@pytest.mark.parametrize("name", ["ab ", "AB", " Ab"])
def test_a_rater_is_the_same_however_the_name_is_written(done: RunFolder, tmp_path: Path, name: str) -> None:
    made(done, tmp_path / "page.html", count=2)
    files = [scores(done, tmp_path / f"{k}.json", rater) for k, rater in enumerate(("AB", "CD", name))]
    with pytest.raises(ClinfitError, match="same rater") as caught:
        read_ratings(done, files)
    assert str(files[0]) in caught.value.found and str(files[2]) in caught.value.found
    assert repr(name.strip()) in caught.value.found and caught.value.expected and caught.value.fix


def test_a_file_without_scores_beside_one_with_scores_is_refused(done: RunFolder, tmp_path: Path) -> None:
    made(done, tmp_path / "page.html", count=2)
    full, (_, order) = scores(done, tmp_path / "x.json", "AB"), key_of(done)
    for ratings in ([], [{"id": next(iter(order)), "place": 0, "scores": {}}]):
        empty = scores(done, tmp_path / "y.json", "CD", ratings=ratings)
        with pytest.raises(ClinfitError, match="holds no score") as caught:
            read_ratings(done, [full, empty])
        assert str(empty) in caught.value.found and caught.value.expected and caught.value.fix


def test_what_cannot_be_made_is_said(done: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("mine")
    for wanted, path, said in (
        ({}, tmp_path / "there.html", "there already"),
        ({"task": "nte"}, tmp_path / "new.html", "no task that asks for texts"),
        ({"models": ["cpy"]}, tmp_path / "new.html", "no model 'cpy'"),
    ):
        with pytest.raises(ClinfitError, match=said):
            made(done, path, **wanted)
    assert (tmp_path / "there.html").read_text() == "mine" and not (tmp_path / "new.html").exists()
