"""LongRoPE: whatever stands beside a record, and wherever it was trained, its answer is the same."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.bases.pretrained import Bases
from clinfit.models.causal import CausalModel
from clinfit.models.encoder import EncoderModel, head_logits
from clinfit.scoring.rows import apart
from clinfit.study.models import Causal, Encoder, Lora, Train
from clinfit.study.tasks import Task
from clinfit.training.answer_loss import AnswerLoss
from lessons import TASK, lesson
from two_layer import train_tokenizer

#: Between the shortest and the longest of the records.
FIRST = 110
LONG = [1.0, 4.0, 16.0, 60.0]


@pytest.fixture(scope="module", params=["phi3", "phimoe"])
def base(request: pytest.FixtureRequest) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="clinfit-bases-")) / request.param
    tokenizer = train_tokenizer()
    rope: dict[str, Any] = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4}
    rope |= {"long_factor": LONG, "original_max_position_embeddings": FIRST}
    if request.param == "phimoe":
        rope |= {"short_mscale": 1.0, "long_mscale": 2.0}
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        request.param, vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3, pad_token_id=5, bos_token_id=0,
        eos_token_id=1, max_position_embeddings=512, original_max_position_embeddings=FIRST, rope_parameters=rope,
        attention_bias=False, **({"num_local_experts": 2} if request.param == "phimoe" else {}),
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def causal(base: Path, task: Task, max_length: int = 250, bases: Bases | None = None, **more: Any) -> CausalModel:
    train = Train(max_length=max_length, precision="fp32", epochs=1, learning_rate=0.02)
    spec = Causal(name="m", family="causal", base=str(base), lora=Lora(rank=2), train=train, **more)
    return CausalModel(spec, {TASK: task}, 1, bases)


def test_neighbours_change_neither_an_answer_nor_a_loss(
    base: Path, text_task: Task, text_records: list[Record]
) -> None:
    loaded = causal(base, text_task).opened()
    encoded = loaded.renderers[TASK].encode_all(text_records[:8])
    lengths = [len(item.ids) for item in encoded]
    assert min(lengths) < FIRST < max(lengths)
    (together,) = loaded.scores(encoded)
    alone = [loaded.scores([item])[0].log_likelihood[0] for item in encoded]
    np.testing.assert_allclose(together.log_likelihood, alone, atol=1e-4)
    losses = AnswerLoss(loaded.model, encoded, pad_id=5)
    with torch.no_grad():
        torch.testing.assert_close(losses(list(range(8))), torch.cat([losses([i]) for i in range(8)]))


@pytest.mark.parametrize(("max_length", "chosen"), [(FIRST, "short"), (FIRST + 1, "long")])
def test_max_length_chooses_the_set_which_is_recorded(
    base: Path, text_task: Task, text_records: list[Record], tmp_path: Path, max_length: int, chosen: str
) -> None:
    model = causal(base, text_task, max_length)
    assert model.fit(lesson(text_records[:12]), Workspace(tmp_path)).details["rope"] == chosen
    model.save(tmp_path / "saved")
    again = CausalModel.load(tmp_path / "saved")
    assert again.opened().rope == chosen
    expected = model.predict(TASK, text_records).probabilities
    np.testing.assert_array_equal(again.predict(TASK, text_records).probabilities, expected)


def test_models_that_share_a_base_have_each_their_own_set(
    base: Path, text_task: Task, text_records: list[Record]
) -> None:
    bases = Bases()
    shared = [causal(base, text_task, length, bases) for length in (FIRST, 250)]
    alone = [causal(base, text_task, length) for length in (FIRST, 250)]
    shortest = [record for record in text_records if record.inputs["abstract"] == text_records[0].inputs["abstract"]]
    answers = [[model.predict(TASK, shortest).probabilities for model in models] for models in (shared, alone)]
    np.testing.assert_array_equal(*answers)
    assert not np.allclose(answers[0][0], answers[0][1])


def test_the_sets_are_those_of_the_architecture(base: Path, text_task: Task, text_records: list[Record]) -> None:
    """A short row beside a row that is as long as the model reads, in the architecture's own forward."""
    loaded = causal(base, text_task).opened()
    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    (item,) = loaded.renderers[TASK].encode_all(text_records[:1])
    rows = apart(plain, [item.prompt_ids, [3] * 250], [[([], [[7]])]] * 2, 5)
    with torch.no_grad():
        own = plain(rows.ids).logits[0, len(item.prompt_ids) - 1]
        ours = loaded.model(torch.tensor([item.prompt_ids])).logits[0, -1]
    torch.testing.assert_close(ours, own, atol=1e-4, rtol=1e-4)


def test_a_free_answer_keeps_to_one_set(base: Path, text_task: Task, text_records: list[Record]) -> None:
    with pytest.raises(ClinfitError, match="changes the frequencies") as error:
        causal(base, text_task, FIRST - 4, generate=8).opened()
    assert f"max_length: {FIRST - 8}" in str(error.value)
    assert causal(base, text_task, FIRST - 8, generate=8).opened().rope == "short"
    long = causal(base, text_task, FIRST + 1, generate=8)
    assert long.generate(TASK, text_records[:2], 8).tokens.max() <= 8


def test_a_classifier_s_answers_do_not_change_either(base: Path, text_task: Task) -> None:
    train = Train(max_length=250, precision="fp32")
    model = EncoderModel(Encoder(name="m", family="encoder", base=str(base), train=train), {TASK: text_task}, 1)
    loaded = model._fresh()
    rows = [[7] * 20, [9] * 200]
    with torch.no_grad():
        together = head_logits(loaded.model, rows, 5)
        alone = torch.cat([head_logits(loaded.model, [row], 5) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
