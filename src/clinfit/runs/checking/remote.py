"""What a study would send to the servers of its remote models, and where; nothing is sent to find out."""

from collections.abc import Mapping

from rich.text import Text

from clinfit.data.load import TaskData
from clinfit.data.records import in_split
from clinfit.errors import ClinfitError
from clinfit.findings import Finding
from clinfit.models.remote.egress import FLAG, api_key
from clinfit.prompts.template import divided_message, user_message
from clinfit.runs.steps.plan import ANSWERED
from clinfit.study.remote import Remote
from clinfit.study.schema import Study


def remote_models(study: Study) -> list[Remote]:
    """The models that are asked over HTTP."""
    return [spec for spec in study.models if isinstance(spec, Remote)]


def sent(study: Study, spec: Remote, data: Mapping[str, TaskData]) -> Text:
    """What would be sent for one model, in words: to whom, how many records, how long the texts are."""
    text = Text(f"\n{spec.name}: ", style="bold")
    text.append(f"what is sent to {spec.host} ({spec.url})", style="")
    seeds, folds = len(study.seeds_of(spec)), max(len(study.folds), 1)
    often = f"asked by {seeds} seeds in {folds} folds, " if seeds * folds > 1 else ""
    for name, task in study.tasks_of(spec).items():
        records = [record for split in ANSWERED for record in in_split(data[name].records, split)]
        if task.kind == "multilabel":
            messages = [divided_message(task, record.inputs) for record in records]
            sizes = [sum(len(one.shared) + len(question) for question in one.questions) for one in messages]
        else:
            sizes = [len(user_message(task, record.inputs)) for record in records]
        shown = f", each behind {spec.shots} training records with their answers" if spec.shots else ""
        inputs = ", ".join(task.data.columns)
        text.append(f"\n  {name}: {len(records)} records of validation and test{shown}; of each {inputs}", style="")
        whole, most = seeds * folds * sum(sizes), max(sizes, default=0)
        text.append(
            f"\n  {often}at least {whole:,} characters in all, which is more by the examples and where a ", style=""
        )
        text.append(f"record takes several requests; {most:,} at most in one record", style="")
    key = f"the key in {spec.api_key_env} goes along" if spec.api_key_env else "no key"
    limit = f", at most {spec.requests.per_minute} a minute" if spec.requests.per_minute else ""
    text.append(f"\n  {spec.requests.concurrent} requests at a time{limit}; {key}", style="")
    return text


def remote_findings(study: Study) -> list[Finding]:
    """That texts leave the machine, and keys that are not there."""
    found = []
    for spec in remote_models(study):
        if spec.leaves_machine:
            title = f"{spec.name}: texts of records would leave this machine, for {spec.host}"
            advice = (
                f"where the records may be sent there: clinfit run STUDY {FLAG}; else serve the model on this machine"
            )
            found.append(Finding("warn", "text-leaves-machine", title, f"url: {spec.url}", advice, spec.name))
        try:
            api_key(spec)
        except ClinfitError as error:
            found.append(Finding("warn", "key-missing", error.found, "", error.fix, spec.name))
    return found
