"""`clinfit diagnose`: load one trained causal model of a run and show how it answers a few test records.

What a model writes may quote a record, so texts are shown only when asked for.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from clinfit.errors import ClinfitError
from clinfit.runs.finish import records as run_records
from clinfit.runs.folder import ModelFolder, RunFolder
from clinfit.runs.inputs import records_of_test
from clinfit.runs.packs import last_stage
from clinfit.runs.steps.plan import ANSWERED_FREELY
from clinfit.study.data import Fold
from clinfit.study.schema import Study

if TYPE_CHECKING:
    from clinfit.models.diagnosis import Diagnosis, Reply

#: Most tokens of a written answer where the study asks for none.
ANSWER_TOKENS = 24


def diagnose_run(
    run: RunFolder, study: Study, model: str | None, task: str | None, count: int, show_text: bool
) -> Iterator[str]:
    """The lines to print. model: its name, or `<model>-seed<seed>`; default: the first causal model that is done. task:
    default: every task that the model answers with one label a record.

    Raises ClinfitError when there is no such model, or the data are not where the run found them.
    """
    folder, record = find_causal(run, model)
    names = tasks_to_ask(study, record["model"], task)
    division = record.get("fold")
    fold = None if division is None else Fold(division["repeat"], division["fold"])
    chosen = {name: records_of_test(run, study, name, fold)[:count] for name in names}
    from clinfit.models.causal import CausalModel
    from clinfit.models.diagnosis import diagnose
    from clinfit.models.families import load_model

    trained = cast(CausalModel, load_model("causal", folder.model(last_stage(record))))
    limit = record["spec"].get("generate") or ANSWER_TOKENS
    for name, asked in chosen.items():
        labels = ", ".join(study.tasks[name].labels)
        yield f"{folder.path.name}, task {name}: {len(asked)} test records, labels {labels}"
        if not show_text:
            yield "(what the model writes may quote a record and is not shown; --show-text shows it)"
        for found in diagnose(trained, name, asked, limit):
            yield ""
            yield from lines_of(found, {item.id: str(item.target) for item in asked}, show_text)


def find_causal(run: RunFolder, name: str | None) -> tuple[ModelFolder, dict[str, Any]]:
    """Folder and record of a trained causal model."""
    done = [
        (folder, record)
        for folder, record in run_records(run)
        if record["family"] == "causal"
        and record["status"] == "done"
        and not record["spec"].get("shots")
        and not record.get("refit")  # no record is left to show it
    ]
    if not done:
        raise ClinfitError(
            f"{run.path} holds no causal language model that is done",
            expected="a model of family causal without `shots`, whose prompts hold training records",
            fix="run the study to its end",
        )
    for folder, record in done:
        if name in (None, record["model"], folder.path.name):
            return folder, record
    raise ClinfitError(
        f"--model: this run has no causal model {name!r} that is done",
        expected=" or ".join(folder.path.name for folder, _ in done),
    )


def tasks_to_ask(study: Study, model: str, name: str | None) -> list[str]:
    """The tasks in which a model is asked one question a record; the one with that name, where it is given."""
    (spec,) = (spec for spec in study.models if spec.name == model)
    fitting = [task for task, asked in study.tasks_of(spec).items() if asked.kind in ANSWERED_FREELY]
    if name is None and fitting:
        return fitting
    if name in fitting:
        return [name]
    found = (
        f"--task: {model} is asked no single question of a record in {name!r}"
        if name
        else (f"{model} is asked no single question of a record in any of its tasks")
    )
    raise ClinfitError(found, expected=f"one of {', '.join(fitting)}" if fitting else "a task with one label a record")


def lines_of(found: "Diagnosis", gold: dict[str, str | None], show_text: bool) -> Iterator[str]:
    """One way of asking as text."""
    yield f"== {found.way}"
    if found.problem:
        yield f"   cannot be tried: {found.problem}"
        return
    yield f"   user message between {short(found.markup[0])} and {short(found.markup[1])}"
    for lean in found.leans:
        yield f"   {lean.shown}: {shares(lean.probabilities)}; label mass {lean.label_mass:.3f}"
    for reply in found.replies:
        scores = f"{shares(reply.probabilities)}; label mass {reply.label_mass:.3f}"
        yield f"   record {reply.id} ({gold[reply.id]}): {scores}"
        yield f"      next tokens: {next_tokens(reply, show_text)}"
        end = ", cut off there" if reply.cut_off else ""
        read = f"read as {reply.parsed.label}" if reply.parsed.label is not None else "unparsed"
        yield f"      writes {reply.tokens} tokens{end}: {read} ({reply.parsed.reason})"
        if show_text:
            yield f"      text: {reply.text!r}"


def short(text: str) -> str:
    """Chat markup in quotes; a long system text loses its middle."""
    return repr(text if len(text) <= 120 else f"{text[:60]} ... {text[-55:]}")


def shares(probabilities: dict[str, float]) -> str:
    """P(no) 0.310, P(yes) 0.690."""
    return ", ".join(f"P({label}) {value:.3f}" for label, value in probabilities.items())


def next_tokens(reply: "Reply", show_text: bool) -> str:
    """The most probable ones; a token that begins no label may be a word of the record, and counts as `other`."""
    parts: Sequence[str] = [
        f"{token.text!r} {token.probability:.3f} (begins {' and '.join(token.labels)})"
        if token.labels
        else f"{repr(token.text) if show_text else 'other'} {token.probability:.3f}"
        for token in reply.next_tokens
    ]
    return ", ".join(parts)
