"""`clinfit diagnose`: load one trained causal model of a run and show how it answers a few test records.

What a model writes may quote a record, so texts are shown only when asked for.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinfit.data.load import load_task
from clinfit.data.records import Record, in_split
from clinfit.errors import ClinfitError
from clinfit.runs.folder import ModelFolder, RunFolder, read_json
from clinfit.runs.outcome import records as run_records
from clinfit.runs.pack import last_stage
from clinfit.study import Study, Task

if TYPE_CHECKING:
    from clinfit.models.diagnosis import Diagnosis, Reply

#: Most tokens of a written answer where the study asks for none.
ANSWER_TOKENS = 24


def diagnose_run(run: RunFolder, study: Study, model: str | None, count: int, show_text: bool) -> Iterator[str]:
    """The lines to print. model: its name, or `<model>-seed<seed>`; default: the first causal model that is done.

    Raises ClinfitError when there is no such model, or the data are not where the run found them.
    """
    folder, record = find_causal(run, model)
    (name, task), *_ = study.tasks.items()
    chosen = records_to_ask(run, name, task, count)
    from clinfit.models.causal import CausalModel
    from clinfit.models.diagnosis import diagnose

    trained = CausalModel.load(folder.model(last_stage(record)))
    yield f"{folder.path.name}, task {name}: {len(chosen)} test records, labels {', '.join(task.labels)}"
    if not show_text:
        yield "(what the model writes may quote a record and is not shown; --show-text shows it)"
    limit = record["spec"].get("generate") or ANSWER_TOKENS
    for found in diagnose(trained, chosen, limit):
        yield ""
        yield from lines_of(found, {item.id: item.target for item in chosen}, show_text)


def find_causal(run: RunFolder, name: str | None) -> tuple[ModelFolder, dict[str, Any]]:
    """Folder and record of a trained causal model."""
    done = [
        (folder, record)
        for folder, record in run_records(run)
        if record["family"] == "causal" and record["status"] == "done"
    ]
    if not done:
        raise ClinfitError(
            f"{run.path} holds no causal language model that is done",
            expected="a model of family causal; others are asked nothing",
            fix="run the study to its end",
        )
    for folder, record in done:
        if name in (None, record["model"], folder.path.name):
            return folder, record
    raise ClinfitError(
        f"--model: this run has no causal model {name!r} that is done",
        expected=" or ".join(folder.path.name for folder, _ in done),
    )


def records_to_ask(run: RunFolder, name: str, task: Task, count: int) -> list[Record]:
    """The first test records, read from where the study file lay when it was run; they must be those of the run."""
    folder = Path(read_json(run.status).get("study_folder", "."))
    again = "run the study once more from where the data are now (nothing is trained twice), or put them back"
    try:
        data = load_task(task, folder)
    except ClinfitError as error:
        raise ClinfitError(
            f"the data of task {name!r} cannot be read from {folder}: {error.found}", fix=again
        ) from error
    if data.fingerprint != read_json(run.data(name))["fingerprint"]:
        raise ClinfitError(
            f"the data of task {name!r} in {folder} are not those of the run",
            expected="the records and splits that the run was made with",
            fix=again,
        )
    return in_split(data.records, "test")[:count]


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
