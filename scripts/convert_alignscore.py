"""AlignScore's published checkpoint as a folder that `evaluation.alignscore` names.

    python scripts/convert_alignscore.py AlignScore-base.ckpt --encoder ROBERTA --output FOLDER

A checkpoint holds the weights of a RoBERTa with its pooler, and heads upon the pooled vector; the head of three classes
is the one that AlignScore asks by default (Zha et al., 2023). Pooler and head are what a sequence classifier of RoBERTa
has, under other names. ROBERTA is the folder of roberta-base or roberta-large, whose settings and tokenizer are
needed. The package reads no pickle; this script reads tensors and plain values alone, whatever else is in the file.
"""

import argparse
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, RobertaConfig, RobertaForSequenceClassification

from clinfit.errors import ClinfitError

#: The classes of the head, in the checkpoint's order; only the first is asked.
LABELS = ("aligned", "other", "another")
BODY, POOLER, HEAD = "base_model.", "base_model.pooler.dense.", "tri_layer."


def convert(checkpoint: Path, encoder: Path, output: Path) -> None:
    """Write config, tokenizer and weights to a new folder; raises ClinfitError for what is no such checkpoint."""
    if output.exists():
        raise ClinfitError(f"{output} is there already", fix="name a new folder")
    if not (encoder / "config.json").is_file():
        raise ClinfitError(f"{encoder} has no config.json", expected="the folder of roberta-base or roberta-large")
    weights = renamed(_read(checkpoint), checkpoint)
    config = RobertaConfig.from_pretrained(encoder, local_files_only=True)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: place for place, label in enumerate(LABELS)}
    model = RobertaForSequenceClassification(config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ClinfitError(
            f"the weights of {checkpoint} are not those of {encoder}: {str(error).splitlines()[-1].strip()}",
            expected="the encoder that the checkpoint was made of: roberta-base, or roberta-large",
        ) from None
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(encoder, local_files_only=True).save_pretrained(output)


def _read(checkpoint: Path) -> dict[str, Tensor]:
    try:
        read: Any = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ClinfitError(
            f"{checkpoint} cannot be read as tensors and plain values ({type(error).__name__})",
            expected="AlignScore-base.ckpt or AlignScore-large.ckpt, whole",
        ) from None
    return read.get("state_dict", {}) if isinstance(read, dict) else {}


def renamed(weights: dict[str, Tensor], checkpoint: Path) -> dict[str, Tensor]:
    """The encoder, its pooler and the head of three classes, named as those of a sequence classifier."""
    found = {
        f"roberta.{name.removeprefix(BODY)}": tensor
        for name, tensor in weights.items()
        if name.startswith(BODY) and not name.startswith(POOLER) and not name.endswith("position_ids")
    }
    for old, new in ((POOLER, "classifier.dense."), (HEAD, "classifier.out_proj.")):
        found |= {new + name.removeprefix(old): tensor for name, tensor in weights.items() if name.startswith(old)}
    if not {"classifier.dense.weight", "classifier.out_proj.weight"} <= found.keys():
        raise ClinfitError(
            f"{checkpoint} has no pooler or no head of three classes",
            expected="AlignScore-base.ckpt or AlignScore-large.ckpt",
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    try:
        convert(asked.checkpoint, asked.encoder, asked.output)
    except ClinfitError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        sys.exit(2)
    print(f"Name it in a study: evaluation: {{alignscore: {{classifier: {asked.output}}}}}")


if __name__ == "__main__":
    main()
