"""Doing steps: fit a model in a stage, or let it answer. What is done, here or in another run, is not done again.

A worker holds one base at a time, and the model that it used last, since the next step mostly asks for the same one. It
works in the process of the driver, or in one of its own: `python -m clinfit.runs.steps.worker` reads what to do from
standard input, one JSON object a line, and tells of it on standard output.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record, in_split
from clinfit.files import hash_json, new_folder, write_json, write_parquet
from clinfit.locks import locked
from clinfit.machine import peak_memory_bytes
from clinfit.models.base import Each, FitSummary, Lesson, Mergeable, Model, Progress, Workspace, Writer
from clinfit.models.families import create_model, load_model
from clinfit.models.remote.egress import allow_egress
from clinfit.predictions import Source, predictions_table, read_predictions
from clinfit.runs.control.status import Listener, telling
from clinfit.runs.folder import ModelFolder
from clinfit.runs.steps.abstention import abstention_table
from clinfit.runs.steps.channel import Channel, Order, work
from clinfit.runs.steps.contrast import contrast_table
from clinfit.runs.steps.failures import Failure, attempted
from clinfit.runs.steps.importance import write_importance
from clinfit.runs.steps.item_scores import score_table
from clinfit.runs.steps.place import Place, place_of
from clinfit.runs.steps.plan import ASKED_OF_IT, Run, Step, free_tokens, runs_of
from clinfit.runs.steps.record import model_of, note_done, note_usage, searched_spec, why_to_do
from clinfit.runs.steps.reuse import from_elsewhere
from clinfit.runs.steps.search import run_search
from clinfit.runs.steps.together import fit_together
from clinfit.runs.steps.trials import Subject
from clinfit.runs.steps.written import Kept, WrittenTexts, answer_left, write_left, write_texts
from clinfit.study.evaluation import GenerationEvaluation
from clinfit.study.models import ModelSpec
from clinfit.study.remote import Remote
from clinfit.study.tasks import Generation, Writing
from clinfit.study.taught import Taught, stages_of
from clinfit.training.retention.rehearsal import rehearse

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases


#: What a reader is told of the steps that look at one split.
DOING = {
    "answer": "answering {about}",
    "score-items": "scoring {about}",
    "abstention": "answering {about} without the context",
    "contrast": "comparing references of {about} with faulty ones",
}


class Worker:
    """Does one step after the other; `listener` hears of them."""

    def __init__(self, place: Place, listener: Listener) -> None:
        self.place, self.listener = place, listener
        self._runs = {run.name: run for run in runs_of(place.study)}
        self._key: str | None = None
        self._shared: Bases | None = None
        self._model: tuple[str, int, Model] | None = None  # run, stage, and what answers after it

    def attempt(self, step: Step) -> Failure | None:
        """Do a step; how it failed, or None when all is well. Raises DiskError, after which nothing can go on."""
        _, failure = attempted(self.place.folder.run(step.run).path, partial(self.do, step))
        if failure is not None:
            self._model = None
        return failure

    def do(self, step: Step) -> None:
        """Do a step, unless it is done; whatever it raises is passed on."""
        run, folder = self._runs[step.run], self.place.folder.run(step.run)
        if step.worker != self._key:
            self._key, self._model, self._shared = step.worker, None, None
        with locked(folder.path):
            record = folder.read_record()
            if why_to_do(step, record, folder.path) is None:
                return
            place = self.place
            if not from_elsewhere(step, run, record, place.folder, place.siblings, self.listener.say):
                act = {
                    "search": self._search,
                    "fit": self._fit,
                    "answer": self._answer,
                    "score-items": self._score_items,
                    "importance": self._importance,
                    "abstention": self._abstention,
                    "contrast": self._contrast,
                }
                act[step.action](step, run, record)
            note_done(step, record, folder)

    # ------------------------------------------------------------ search and fit

    def _search(self, step: Step, run: Run, record: dict[str, Any]) -> None:
        self._model = None  # trials are to have the memory
        study, folder = self.place.study, self.place.folder.run(step.run)
        (taught,) = stages_of(study, run.spec)
        seed, tasks = study.seeds_of(run.spec)[0], study.tasks_of(run.spec)
        subject = Subject(
            spec=run.spec,
            tasks=tasks,
            seed=seed,
            lesson=self._lesson(taught, run, []),
            bases=self._bases(run),
            primary=self._primary,
            seeded=lambda: seed_everything(run.spec, seed),
        )
        with telling(self.listener, folder.status, step, self._title(step, run)) as advance:
            primary = study.settings(next(iter(tasks))).primary
            run_search(subject, folder.path / step.writes, step.inputs, primary, advance)

    def _fit(self, step: Step, run: Run, record: dict[str, Any]) -> None:
        folder = self.place.folder.run(step.run)
        together = run.spec.processes > 1 and self._stage(step, run).stage.merge is None
        with telling(self.listener, folder.status, step, self._title(step, run)) as advance:
            summary, memory = (self._fit_together if together else self._fit_alone)(step, run, advance)
        self._model = None  # what is evaluated is what was saved
        record["stages"][str(step.stage)] = asdict(summary)
        record |= {"environment": self.place.environment, "peak_memory_mb": memory}
        write_json(self.place.folder.environment, self.place.environment)

    def _fit_alone(self, step: Step, run: Run, progress: Progress) -> tuple[FitSummary, float]:
        model, summary = self.taught(step, progress)
        with new_folder(self.place.folder.run(step.run).model(step.stage)) as saved:
            model.save(saved)
        return summary, peak_memory()

    def _fit_together(self, step: Step, run: Run, progress: Progress) -> tuple[FitSummary, float]:
        self._model, self._shared = None, None  # the memory is for the processes
        with new_folder(self.place.folder.run(step.run).model(step.stage)) as saved:
            done = fit_together(self.place, step, run.spec.processes, saved, progress)
        return done.summary, done.memory

    def _stage(self, step: Step, run: Run) -> Taught:
        """What a fit teaches."""
        (taught,) = (taught for taught in stages_of(self.place.study, run.spec) if taught.number == step.stage)
        return taught

    def taught(self, step: Step, progress: Progress) -> tuple[Model, FitSummary]:
        """The model as a fit leaves it, and what it tells; of several processes that do it together, in each."""
        run, folder = self._runs[step.run], self.place.folder.run(step.run)
        taught, starts = self._stage(step, run), [self.place.folder.written(need) for need in step.starts]
        spec = searched_spec(run.spec, folder.read_record())
        if spec is not run.spec:
            self._model = None
        model = self._untrained(run) if spec is run.spec else self._created(run, spec)
        seed_everything(run.spec, run.seed)
        workspace = Workspace(folder.stage(step.stage), progress, self._primary, self.place.study.track)
        workspace.folder.mkdir(parents=True, exist_ok=True)
        if taught.stage.merge is not None:
            return model, cast(Mergeable, model).merge(starts, taught.stage.merge, workspace)
        return model, model.fit(self._lesson(taught, run, starts), workspace)

    def _lesson(self, taught: Taught, run: Run, starts: Sequence[Path]) -> Lesson:
        """What a stage teaches; records in the order of the study's tasks, then those of earlier tasks."""
        train, validation = (
            [record for name in taught.all_weights for record in in_split(self._records(run, name), split)]
            for split in ("train", "validation")
        )
        stage = taught.stage
        if stage.retain is not None and taught.rehearsed:
            earlier = {name: self.place.study.tasks[name] for name in taught.rehearsed}
            train = rehearse(train, earlier, stage.retain.rehearsal, run.seed)
        (start,) = starts or [None]
        return Lesson(train, validation, taught.all_weights, start, stage)

    def _records(self, run: Run, task: str) -> list[Record]:
        """The records of a task as the run divides them."""
        return run.data(self.place.data[task]).records

    def _primary(self, name: str, gold: NDArray[Any], probabilities: NDArray[np.float64]) -> float | None:
        """A task's primary metric during training; larger is better."""
        from clinfit.evaluation.metrics.primary import primary_value  # scipy.stats, which rules never ask for

        study = self.place.study
        return primary_value(study.tasks[name], study.settings(name).primary, gold, probabilities)

    def _untrained(self, run: Run) -> Model:
        """The model before any training, the same object for stage 0 and the first fit."""
        if self._model is None or self._model[:2] != (run.name, 0):
            self._model = (run.name, 0, self._created(run, run.spec))
        return self._model[2]

    def _created(self, run: Run, spec: ModelSpec) -> Model:
        seed_everything(spec, run.seed)
        return create_model(spec, self.place.study.tasks_of(spec), run.seed, self._bases(run))

    def _bases(self, run: Run) -> "Bases | None":
        """The base in memory that this worker's models share; None for models without one."""
        if self._shared is None and run.spec.neural:
            from clinfit.models.bases.pretrained import Bases

            self._shared = Bases()
        return self._shared

    # ------------------------------------------------------------ answer

    def _answer(self, step: Step, run: Run, record: dict[str, Any]) -> None:
        assert step.task is not None and step.split is not None
        folder, task = self.place.folder.run(step.run), self.place.study.tasks[step.task]
        records = in_split(self._records(run, step.task), step.split)
        path, key = folder.path / step.writes, hash_json([step.inputs, model_of(step, record)])
        with telling(self.listener, folder.status, step, self._title(step, run)) as advance:
            advance(0, len(records), "")
            model = self._asked(step, run, folder)
            if isinstance(task, Writing):
                written = WrittenTexts(path, key)
                outputs = write_texts(cast(Writer, model), step.task, records, task.max_new_tokens, written, advance)
            elif isinstance(run.spec, Remote):
                each = cast(Each, model)
                outputs = answer_left(each, step.task, records, Kept(each.answered, path, key), advance)
            else:
                outputs = model.predict(step.task, records, progress=advance)
                if limit := free_tokens(run.spec, task):
                    written = WrittenTexts(path, key)
                    write_left(cast(Writer, model), step.task, records, limit, written, advance)
                    outputs = outputs.with_texts(written.outputs([one.id for one in records]))
        source = Source(run.name, run.spec.name, run.seed, step.stage, run.fold)
        table = predictions_table(source, step.task, task, step.split, records, outputs)
        write_parquet(path, table)
        if isinstance(run.spec, Remote):
            note_usage(record, step, run.spec, table)
        record["peak_memory_mb"] = max(record.get("peak_memory_mb") or 0.0, peak_memory())

    def _score_items(self, step: Step, run: Run, record: dict[str, Any]) -> None:
        assert step.task is not None and step.split is not None
        folder, task = self.place.folder.run(step.run), self.place.study.tasks[step.task]
        assert isinstance(task, Writing)
        settings, records = self.place.study.settings(step.task), in_split(self._records(run, step.task), step.split)
        (answers,) = (self.place.folder.written(need) for need in step.needs)
        with telling(self.listener, folder.status, step, self._title(step, run)) as advance:
            table = score_table(task, settings, records, read_predictions(answers), advance)
        write_parquet(folder.path / step.writes, table)

    def _importance(self, step: Step, run: Run, record: dict[str, Any]) -> None:
        assert step.task is not None
        folder, records = self.place.folder.run(step.run), self._records(run, step.task)
        source = Source(run.name, run.spec.name, run.seed, step.stage, run.fold)
        with telling(self.listener, folder.status, step, self._title(step, run)) as advance:
            model = self._trained(step, run, folder)
            train, validation = in_split(records, "train"), in_split(records, "validation")
            words = run.spec.named_words
            write_importance(folder.path / step.writes, model, source, step.task, train, validation, advance, words)

    def _abstention(self, step: Step, run: Run, record: dict[str, Any]) -> None:
        task, settings, records = self._written_task(step, run)
        assert settings.abstention is not None
        folder = self.place.folder.run(step.run)
        (answers,) = (self.place.folder.written(need) for need in step.needs)
        written = WrittenTexts(folder.path / step.writes, hash_json([step.inputs, model_of(step, record)]))
        with telling(self.listener, folder.status, step, self._title(step, run)) as advance:
            model, table = cast(Writer, self._asked(step, run, folder)), read_predictions(answers)
            asked = settings.abstention
            found = abstention_table(model, str(step.task), task, asked, records, table, written, advance)
        write_parquet(folder.path / step.writes, found)

    def _contrast(self, step: Step, run: Run, record: dict[str, Any]) -> None:
        task, settings, records = self._written_task(step, run)
        folder = self.place.folder.run(step.run)
        with telling(self.listener, folder.status, step, self._title(step, run)):
            model = cast(Writer, self._asked(step, run, folder))
            found = contrast_table(model, str(step.task), task, records, settings.contrast)
        write_parquet(folder.path / step.writes, found)

    def _written_task(self, step: Step, run: Run) -> tuple[Generation, GenerationEvaluation, list[Record]]:
        """The task of a step that is asked of free texts alone, its settings, and the records of the step's split."""
        assert step.task is not None and step.split is not None
        task, settings = self.place.study.tasks[step.task], self.place.study.settings(step.task)
        assert isinstance(task, Generation) and isinstance(settings, GenerationEvaluation)
        return task, settings, in_split(self._records(run, step.task), step.split)

    def _asked(self, step: Step, run: Run, folder: ModelFolder) -> Model:
        """The model that a step asks: after its stage, before training at stage 0."""
        return self._trained(step, run, folder) if step.stage else self._untrained(run)

    def _trained(self, step: Step, run: Run, folder: ModelFolder) -> Model:
        if self._model is None or self._model[:2] != (run.name, step.stage):
            model = load_model(run.spec.family, folder.model(step.stage), self._bases(run))
            if isinstance(run.spec, Remote):  # what was saved may be older: a limit is lowered after a refusal
                cast(Each, model).ask_as({name: value for name, value in run.spec if name in ASKED_OF_IT})
            self._model = (run.name, step.stage, model)
        return self._model[2]

    def _title(self, step: Step, run: Run) -> str:
        """What a reader is told of a step; tasks and stages are named where there are several."""
        study = self.place.study
        stages = study.stages_of(run.spec)
        several = len(stages) > 1
        if step.action == "fit":
            what = "training" if stages[step.stage - 1].merge is None else "merging"
            if run.spec.prompting:
                what = "drawing examples" if run.spec.holds_records else "opening the base"
            what = "finding out what the server offers" if isinstance(run.spec, Remote) else what
            return what + (f", stage {step.stage}" if several else "")
        about = f"{step.task}, {step.split}" if len(study.tasks) > 1 else step.split
        if step.action == "search":
            return "searching hyperparameters"
        if step.action == "importance":
            return f"asking what it needs of {step.task}"
        after = " before training" if step.stage == 0 else f" after stage {step.stage}" if several else ""
        return DOING[step.action].format(about=about) + after


def seed_everything(spec: ModelSpec, seed: int) -> None:
    """Seed every generator that a family may draw from; torch only where the family uses it."""
    random.seed(seed)
    np.random.seed(seed)
    if spec.neural:
        import torch

        torch.manual_seed(seed)


def peak_memory() -> float:
    """The most memory of this process so far, in MB."""
    return round(peak_memory_bytes() / 1e6, 1)


# ---------------------------------------------------------------- a process of its own


def begin(order: Order, channel: Channel) -> Worker:
    """The worker of a first order (`order_of`)."""
    allow_egress(order["egress"])
    return Worker(place_of(order), channel)


def answer(worker: Worker, order: Order, channel: Channel) -> dict[str, Any]:
    """Do a step; how it failed, where it did."""
    failure = worker.attempt(Step.from_json(order))
    return {"failure": asdict(failure) if failure else None}


if __name__ == "__main__":
    work(begin, answer)
