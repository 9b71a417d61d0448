"""`clinfit reading`: a page of texts for people to score, and what their scores say.

The page shows records, so it is written where the user says and nowhere else. In the study folder remains only who
wrote what, in `reading/<page>.json`: ids and names, no text. The scores come back as files that the page saves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import has_folds
from clinfit.evaluation.metrics.engines import ENGINES
from clinfit.evaluation.readings import CRITERIA, Reading, evaluate_readings
from clinfit.evaluation.systems import find_systems
from clinfit.files import hash_json, read_json, write_json, write_text
from clinfit.prompts.template import input_title, value_text
from clinfit.report.reading import RATINGS_FORMAT, ReadItem, render_reading
from clinfit.runs.finish import saved_predictions
from clinfit.runs.folder import RunFolder
from clinfit.runs.inputs import check_model, records_of_test
from clinfit.study.schema import Study

#: The form of the file that says who wrote what.
FORMAT = "clinfit-reading/1"
FOLDER = "reading"


@dataclass(frozen=True)
class Wanted:
    """What is read. task: default: the only one that asks for texts. models: default: all. seed: of both draws."""

    task: str | None = None
    models: Sequence[str] | None = None
    count: int = 30
    seed: int = 1


@dataclass(frozen=True)
class Page:
    """What was written: records and texts in it, and the writers, by name."""

    path: Path
    records: int
    systems: Sequence[str]


def write_reading(run: RunFolder, study: Study, wanted: Wanted, path: Path) -> Page:
    """Draw test records and write the page. Raises ClinfitError where nothing is to be read or a file is in the way."""
    if path.exists():
        raise ClinfitError(f"{path} is there already", fix="give another name with --out: scores belong to one page")
    name = task_to_read(study, wanted.task)
    tables = saved_predictions(run)
    tables = tables.loc[(tables["task"] == name) & (tables["split"] == "test")]
    if has_folds(tables):  # every record is tested once in the first repeat
        tables = tables.loc[tables["repeat"] == tables["repeat"].min()]
    texts = written(study, name, tables, wanted.models)
    records = {record.id: record for record in records_of_test(run, study, name)}
    rng, ids, names = np.random.default_rng(wanted.seed), list(records), list(texts)
    drawn = [ids[at] for at in rng.permutation(len(ids))[: wanted.count]]
    order = {id: [names[at] for at in rng.permutation(len(names))] for id in drawn}
    items = [_item(study, name, records[id], [texts[writer][id] for writer in order[id]]) for id in drawn]
    page = hash_json([FORMAT, name, order, [item.answers for item in items]])[:16]
    write_json(
        run.path / FOLDER / f"{page}.json",
        {"format": FORMAT, "task": name, "seed": wanted.seed, "order": order},
    )
    write_text(path, render_reading(f"{study.name}, {name}", page, items))
    return Page(path, len(items), names)


def task_to_read(study: Study, name: str | None) -> str:
    fitting = [task for task, asked in study.tasks.items() if asked.kind == "generation"]
    if not fitting:
        raise ClinfitError("the study has no task that asks for texts", expected="a task of kind generation")
    if name in fitting or (name is None and len(fitting) == 1):
        return name or fitting[0]
    found = f"--task: {name!r} is no task that asks for texts" if name else f"{len(fitting)} tasks ask for texts"
    raise ClinfitError(found, expected=f"one of {', '.join(fitting)}", fix=f"type --task {fitting[0]}")


def written(study: Study, task: str, table: pd.DataFrame, models: Sequence[str] | None) -> dict[str, dict[str, str]]:
    """System -> id -> text: of every model one seed, before training and at its end. table: test answers to the task.

    Raises ClinfitError for a name that wrote nothing.
    """
    asked = study.tasks[task]
    every = find_systems(ENGINES[asked.kind], asked, study.models, table)
    last = {system.model: system.stage for system in sorted(every, key=lambda system: system.stage)}
    seed = {system.model: system.seed for system in sorted(every, key=lambda system: -system.seed)}
    for name in models or ():
        check_model(name, last, f"no model {name!r} wrote texts for {task}")
    ends = [
        system
        for system in every
        if system.model in (models or last)
        and system.seed == seed[system.model]
        and system.stage in (0, last[system.model])
    ]
    found = {}
    for system in ends:
        own = (table["model"] == system.model) & (table["seed"] == system.seed) & (table["stage"] == system.stage)
        rows = table.loc[own]
        found[system.name] = dict(zip(rows["id"].astype(str), rows["predicted"].astype(str), strict=True))
    return found


def _item(study: Study, name: str, record: Record, answers: list[str]) -> ReadItem:
    task = study.tasks[name]
    source = [
        (input_title(key, column), value_text(record.inputs.get(key), column))
        for key, column in task.data.columns.items()
    ]
    return ReadItem(record.id, source, str(record.target), answers)


# ---------------------------------------------------------------- scores

SAVED = f"a file that the reading page saved (format {RATINGS_FORMAT})"


class _Rating(BaseModel):
    """The scores of one text: of which record, and the how manieth of its texts, from 0. Numbers are whole numbers."""

    model_config = ConfigDict(strict=True)

    id: str
    place: int
    scores: dict[str, int]


class _Ratings(BaseModel):
    """What a rater saved. The page is part of a file's name in the run's folder: 16 digits, and nothing else."""

    model_config = ConfigDict(strict=True)

    format: Literal["clinfit-ratings/1"]
    page: str = Field(pattern=r"\A[0-9a-f]{16}\z")
    rater: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    ratings: list[_Rating]


def read_ratings(run: RunFolder, files: Sequence[Path]) -> Reading:
    """What the saved files say, with the writers' names; also written to `reading/<page>-result.json`.

    Raises ClinfitError for files that no page saved, of another page or run, for two of one rater, for one without a
    score, and for scores that no scale has.
    """
    contents = [_ratings_of(path) for path in files]
    pages = {content.page for content in contents}
    if len(pages) > 1:
        raise ClinfitError(
            "the files belong to different pages", expected="scores of one page", fix="read them page by page"
        )
    (page,) = pages
    key = run.path / FOLDER / f"{page}.json"
    if not key.is_file():
        raise ClinfitError(
            f"{files[0]} belongs to a page that was not made from {run.path}",
            expected="scores of a page that `clinfit reading page` made from this run",
        )
    order = read_json(key)["order"]
    _check_raters(files, contents)
    rows = [list(_rows(path, content, order)) for path, content in zip(files, contents, strict=True)]
    table = pd.DataFrame(list(chain.from_iterable(rows)), columns=["rater", "id", "system", "criterion", "score"])
    result = evaluate_readings(table, sum(map(len, order.values())))
    write_json(run.path / FOLDER / f"{page}-result.json", result)
    return result


def _check_raters(files: Sequence[Path], contents: Sequence[_Ratings]) -> None:
    """Raise ClinfitError for two files by one rater, whom case and spaces in the name do not make two: their agreement
    would be that of a person with themselves."""
    seen: dict[str, tuple[Path, str]] = {}
    for path, content in zip(files, contents, strict=True):
        name = " ".join(content.rater.split()).casefold()
        if name in seen:
            first, called = seen[name]
            raise ClinfitError(
                f"{first} and {path} are by the same rater, called {called!r} and {content.rater!r}",
                expected="one file a rater; case and spaces in a name do not count",
                fix=f"leave one of them out, or correct `rater` in {path} where it is another person",
            )
        seen[name] = path, content.rater


def _ratings_of(path: Path) -> _Ratings:
    """A rater's file, checked as a whole; raises ClinfitError for one that is not as the page saves it."""
    try:
        return _Ratings.model_validate_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ClinfitError(f"{path} cannot be read as scores: {error.strerror}", expected=SAVED) from error
    except UnicodeDecodeError as error:
        raise ClinfitError(f"{path} cannot be read as scores: it is not UTF-8", expected=SAVED) from error
    except ValidationError as error:
        first, many = error.errors()[0], error.error_count()
        at = ".".join(map(str, first["loc"])) or "the file"
        more = f", and {many - 1} more" if many > 1 else ""
        raise ClinfitError(
            f"{path} holds no scores of a named rater: {at}: {first['msg']}{more}", expected=SAVED
        ) from error


def _rows(path: Path, content: _Ratings, order: dict[str, list[str]]) -> list[tuple[str, str, str, str, int]]:
    sizes = {criterion.name: len(criterion.scale) for criterion in CRITERIA}
    rows: list[tuple[str, str, str, str, int]] = []
    for rating in content.ratings:
        if not 0 <= rating.place < len(order.get(rating.id, ())):
            raise ClinfitError(
                f"{path} scores a text that is not on its page (record {rating.id}, place {rating.place})"
            )
        for criterion, score in rating.scores.items():
            if not 1 <= score <= sizes.get(criterion, 0):
                raise ClinfitError(
                    f"{path}: record {rating.id} has {criterion} {score}",
                    expected=", ".join(f"{name} 1 to {size}" for name, size in sizes.items()),
                )
            rows.append((content.rater, rating.id, order[rating.id][rating.place], criterion, score))
    if not rows:
        raise ClinfitError(
            f"{path} holds no score: {content.rater} has scored none of the texts",
            expected="a score of one text at least in each file",
            fix="leave the file out, or let the rater score the page and save again",
        )
    if len({row[:4] for row in rows}) < len(rows):
        raise ClinfitError(f"{path} scores a text twice")
    return rows
