"""How much a model needs each input: its answers on validation while one input is shuffled among the records.

Permutation importance (Breiman, 2001; for any model: Fisher, Rudin and Dominici, 2019). A step writes the answers, and
evaluation makes the numbers (evaluation/analyses/importance.py), since nothing after it loads a model:

    importance/<task>-stage<n>/answers.parquet    input (null: none is shuffled), repeat, id, group, gold and answers
    importance/<task>-stage<n>/weights.json       coefficients of a linear model (models/tabular/weights.py), else null

Validation, so that nothing is chosen by a look at test. It costs inputs x REPEATS x records answers: nothing for
classical models, hours for language models, which are asked only where the study says `importance: true`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from clinfit.data.records import Record
from clinfit.files import new_folder, read_json, write_json, write_parquet
from clinfit.models.base import Model
from clinfit.predictions import PROBABILITY, Source, predictions_table
from clinfit.study.tasks import Task

#: How often each input is shuffled.
REPEATS = 5
#: More validation records than this are not asked: a random part of them is.
MOST_RECORDS = 500

ANSWERS, WEIGHTS = "answers.parquet", "weights.json"
KEPT = ["id", "group", "gold", "predicted", "status"]


def write_importance(
    folder: Path,
    model: Model,
    source: Source,
    name: str,
    train: Sequence[Record],
    validation: Sequence[Record],
    advance: Callable[[int, int, str], None],
    words: bool,
) -> None:
    """Ask the model and write its answers and weights. words: whether words of texts are named."""
    task = model.tasks[name]
    tables = []
    asked = list(_shuffled(task, _some(validation)))
    for at, (what, repeat, records) in enumerate(asked):
        advance(at, len(asked), what or "as they are")
        answers = predictions_table(source, name, task, "validation", records, model.predict(name, records))
        kept = [column for column in answers.columns if column in KEPT or column.startswith(PROBABILITY)]
        tables.append(answers[[*kept, *({"label_mass"} & {*answers.columns})]].assign(input=what, repeat=repeat))
    weights = _weights(model, name, train, words)
    with new_folder(folder) as path:
        write_parquet(path / ANSWERS, pd.concat(tables, ignore_index=True).astype({"input": "string"}))
        write_json(path / WEIGHTS, weights)


def read_importance(folder: Path) -> dict[str, object]:
    """What a step wrote, as evaluation takes it (`facts.Importance`)."""
    return {"answers": pd.read_parquet(folder / ANSWERS), "weights": read_json(folder / WEIGHTS)}


def _some(records: Sequence[Record]) -> list[Record]:
    if len(records) <= MOST_RECORDS:
        return list(records)
    chosen = np.random.default_rng(0).choice(len(records), MOST_RECORDS, replace=False)
    return [records[at] for at in sorted(chosen)]


def _shuffled(task: Task, records: Sequence[Record]) -> Iterator[tuple[str | None, int, list[Record]]]:
    """The records as they are, and with each input shuffled; a single input is all that a model has, so it stays."""
    yield None, 0, list(records)
    inputs = list(task.data.columns)
    for name in inputs if len(inputs) > 1 else []:
        for repeat in range(REPEATS):
            order = np.random.default_rng([repeat, inputs.index(name)]).permutation(len(records))
            values = [records[at].inputs[name] for at in order]
            yield (
                name,
                repeat,
                [
                    replace(record, inputs=record.inputs | {name: value})
                    for record, value in zip(records, values, strict=True)
                ],
            )


def _weights(model: Model, name: str, train: Sequence[Record], words: bool) -> dict[str, object] | None:
    if model.spec.neural:
        return None
    from clinfit.models.tabular.weights import weights_of  # scikit-learn, which neural models do without

    found = weights_of(model, name, train, words)
    return None if found is None else asdict(found)
