"""lm-evaluation-harness: `HFLM.loglikelihood` of both labels for every prompt."""

import time

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from score import options_of
from workload import LABELS, rendered, write_result

if __name__ == "__main__":
    options = options_of(__doc__)
    model = HFLM(
        pretrained=str(options.model),
        device="cpu",
        dtype="bfloat16" if options.precision == "bf16" else "float32",
        batch_size=options.batch,
    )
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=(rendered(example.prompt), label), idx=k)
        for example in options.examples
        for k, label in enumerate(LABELS)
    ]
    started = time.perf_counter()
    answers = model.loglikelihood(requests, disable_tqdm=True)
    seconds = time.perf_counter() - started
    pairs = zip(answers[0::2], answers[1::2], strict=True)
    write_result(
        options.result,
        seconds=seconds,
        prompts=len(options.examples),
        margins=[positive[0] - negative[0] for negative, positive in pairs],
    )
