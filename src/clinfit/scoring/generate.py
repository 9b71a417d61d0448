"""The answer that a causal model writes by itself: greedy, one prompt at a time, so that nothing but the prompt and the
weights decides it.

One prompt at a time also means no padding and no attention mask (see `prompts/batches.py`), on every device.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from clinfit.scoring.answers import answer_logits, token_logits

#: Tokens that are compared in fp32: bf16 logits differ in steps of about 0.1, so that the first few would often tie.
CANDIDATES = 16


def stop_tokens(model: PreTrainedModel, end_ids: Sequence[int]) -> set[int]:
    """The tokens at which an answer ends: the end of turn that was trained, and what the base itself calls an end."""
    settings = getattr(model, "generation_config", None) or model.config
    own = settings.eos_token_id
    return {*end_ids, *(own if isinstance(own, list) else [] if own is None else [own])}


@torch.inference_mode()
def greedy_answer(model: PreTrainedModel, prompt_ids: Sequence[int], stops: Collection[int], limit: int) -> list[int]:
    """Ids of the most probable continuation, token by token, without the stop token that ended it.

    limit: most tokens; an answer of `limit` tokens was not seen to end.
    """
    written: list[int] = []
    unread, memory = list(prompt_ids), None
    while len(written) < limit:
        ids = torch.tensor([unread], device=model.device)
        output = model.get_decoder()(input_ids=ids, past_key_values=memory, use_cache=True)
        token = _most_probable(model, output.last_hidden_state[0, -1:])
        if token in stops:
            break
        written.append(token)
        memory = output.get("past_key_values")
        unread = [token] if memory is not None else [*prompt_ids, *written]  # recurrent layers: read it all again
    return written


def _most_probable(model: PreTrainedModel, hidden: Tensor) -> int:
    """The next token after one (1, d) hidden state; of equals the one with the lowest id."""
    logits = answer_logits(model, hidden)[0]
    best = torch.sort(logits.topk(min(CANDIDATES, len(logits))).indices).values
    return int(best[token_logits(model, hidden.expand(len(best), -1), best).argmax()])
