"""What a reader must know of a remote model: who answered, how labels were scored, what is bounded, what it cost."""

import numpy as np

from clinfit.evaluation.analyses.language import rows_on_test
from clinfit.evaluation.answers import numbers
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.findings import Finding
from clinfit.study.remote import Remote

#: Code of the finding that says how.
ON_SERVER = "remote-model"
#: How label scores were had, in words.
WORDS = {
    "prompt-logprobs": "by the likelihood of each whole label",
    "top-logprobs": "by the labels' tokens among the most probable next ones",
    "generation": "by written answers, read by the strict parser, without probabilities",
}


def check_remote(context: MeasuredContext, item: Measured) -> Outcome:
    """Of remote models."""
    spec, rows = item.system.spec, rows_on_test(context.table, item.system)
    if not isinstance(spec, Remote):
        return None, []
    facts = context.facts.models.get(item.system.run, {}).get("remote", {})
    scored = WORDS.get(str(rows["rung"].iloc[0]), "") if "rung" in rows and len(rows) else ""
    title = f"{item.name} is a model on a server" + (f"; its labels were scored {scored}" if scored else "")
    used = {name: int(np.nansum(numbers(rows, name))) for name in ("prompt_tokens", "output_tokens")}
    cost = spec.cost(**used)
    evidence = (
        f"asked for {spec.model} at {spec.url}; the server says {facts.get('served') or 'nothing of what it serves'}; "
        f"test items took {used['prompt_tokens']:,} prompt tokens and {used['output_tokens']:,} of output"
        + (f", {cost['cost']:.4g} {cost['currency']}" if cost else "")
    )
    advice = "nobody here can say that the same model answers tomorrow: keep the date, and the version that is served"
    found = [Finding("info", ON_SERVER, title, evidence, advice, item.name)]
    if "bounded" in rows and (bounded := int(np.count_nonzero(rows["bounded"].fillna(False)))):
        found.append(
            Finding(
                "warn",
                "remote-bounded",
                f"{item.name}: {bounded} of {len(rows)} items have a label that is not among the tokens told",
                f"its probability is at most what the {spec.top} most probable tokens leave, and taken as that; items "
                "of which no label was told count as wrong",
                "raise `top` where the server allows more, or serve the model where whole labels can be scored",
                item.name,
            )
        )
    return None, found
