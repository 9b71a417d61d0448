"""A pack's language model with its adapter merged into the base, as a folder or a GGUF file that other tools read.

What was evaluated is the pack. Its prompt, the likelihoods of labels, threshold and recalibration stay behind, and
merged weights are rounded once more; so an export says what it is made of, shows one made-up record as the model reads
it, and tells how far its answers to the pack's probes are from the pack's.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from clinfit.errors import ClinfitError
from clinfit.files import followed, new_folder, write_json
from clinfit.models.saved import Saved, read_saved
from clinfit.packs.content import MODEL, Content, read_content
from clinfit.packs.probes import Floats, ask_probes
from clinfit.packs.read import Pack, load_pack
from clinfit.study.models import Causal

#: What the export says of itself, beside its weights.
NOTE = "clinfit-export.json"
FORMAT = "clinfit-export/1"
#: The maintained converter, which comes with llama.cpp and not as a package.
CONVERTER = "convert_hf_to_gguf.py"

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Change:
    """How far the export is from the pack on the probes of one task: the largest change of a probability, or the share
    of probes to which another text is written."""

    task: str
    of: Literal["probability", "texts"]
    value: float

    def line(self) -> str:
        what = "largest change of a probability" if self.of == "probability" else "probes with another text"
        return f"{self.task}: {what} {self.value:.2g}"


def export_merged(pack_folder: Path, out: Path, precision: Precision) -> list[Change]:
    """Write the merged model, its tokenizer and a note into a new folder; how far it is from the pack.

    Raises ClinfitError for packs without one adapter to merge, and where something is in the way.
    """
    folder = followed(pack_folder)
    saved = _mergeable(read_content(folder), folder / MODEL)
    if out.exists():
        raise ClinfitError(f"{out} is there already", fix="name another folder with --out, or remove it")
    from clinfit.models.bases.pretrained import load_tokenizer
    from clinfit.models.saved import TOKENIZER

    pack, spec = load_pack(folder), saved.spec
    tokenizer = load_tokenizer(spec.base, spec.revision, folder / MODEL / TOKENIZER)
    with new_folder(out) as begun:
        _write_weights(spec, folder / MODEL, begun, precision)
        tokenizer.save_pretrained(begun)
        changes = _changes(pack, spec, begun)
        tasks = {change.task: _asked(pack, spec, tokenizer, change) for change in changes}
        write_json(begun / NOTE, _note(pack.content, spec, precision) | {"tasks": tasks})
    return changes


def find_converter(named: Path | None, out: Path) -> Path:
    """llama.cpp's converter: the one that was named, else the one on the path. Raises ClinfitError without any, and
    where its file `out` is there already."""
    if out.exists():
        raise ClinfitError(f"{out} is there already", fix="remove it, or name another folder with --out")
    found = shutil.which(CONVERTER) if named is None else named
    if found is None or not Path(found).is_file():
        raise ClinfitError(
            f"no {CONVERTER} on the path" if named is None else f"{named} is no file",
            expected="the converter of llama.cpp, with its Python requirements installed",
            fix=f"get llama.cpp, then add --converter llama.cpp/{CONVERTER}",
        )
    return Path(found)


def export_gguf(merged: Path, out: Path, converter: Path) -> None:
    """Write a merged model as one GGUF file of 16 bits. Raises ClinfitError where the converter fails."""
    begun = out.with_name(f".{out.name}.begun")
    words = [sys.executable, str(converter), str(merged), "--outfile", str(begun), "--outtype", "f16"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0 or not begun.is_file():
        begun.unlink(missing_ok=True)
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ClinfitError(f"{converter} did not convert the model: {last}", expected="an architecture that it knows")
    begun.rename(out)


def _mergeable(content: Content, folder: Path) -> Saved[Causal]:
    """The saved model of a pack that has one adapter for all its tasks. Raises ClinfitError for others."""
    spec = content.model.spec
    if content.model.family != "causal" or spec.get("method") != "lora":
        raise ClinfitError(
            f"the pack of {content.run} holds no adapter of a causal language model",
            expected="a model of `family: causal` with `method: lora`",
            fix="serve the pack as it is: `clinfit serve`, or `clinfit predict`",
        )
    saved = read_saved(folder, Causal)
    if saved.others:
        raise ClinfitError(
            f"the pack of {content.run} has an adapter a task",
            expected="one adapter for all tasks: only one can be merged into a base",
            fix="export the pack of a model that was trained with `adapter: continue`",
        )
    return saved


def _write_weights(spec: Causal, saved: Path, folder: Path, precision: Precision) -> None:
    """PEFT's own merge of the saved adapter into the base, in fp32, then rounded."""
    from peft import PeftModel

    from clinfit.models.bases.pretrained import find_base, load_causal
    from clinfit.models.neural import ADAPTER
    from clinfit.training.precision import DTYPES, default_device

    base: Any = load_causal(find_base(spec.base, spec.revision), "fp32", default_device())
    merged: Any = PeftModel.from_pretrained(base, str(saved / ADAPTER))
    merged.merge_and_unload(safe_merge=True).to(DTYPES[precision]).save_pretrained(folder)


def _changes(pack: Pack, spec: Causal, folder: Path) -> list[Change]:
    """Both are asked here and now, one probe at a time."""
    from clinfit.models.families import create_model

    alone = spec.model_copy(update={"base": str(folder), "revision": None, "quantization": "none"})
    merged = create_model(alone, pack.model.tasks, pack.content.model.seed)
    found = []
    for task in pack.tasks:
        records = pack.probes.records[task]
        before, after = ask_probes(pack.model, task, records), ask_probes(merged, task, records)
        if isinstance(before, list):
            found.append(Change(task, "texts", float(np.mean([a != b for a, b in zip(before, after, strict=True)]))))
        else:
            found.append(Change(task, "probability", float(np.abs(before - cast(Floats, after)).max())))
    return found


def _note(content: Content, spec: Causal, precision: Precision) -> dict[str, Any]:
    """What the folder is."""
    return {
        "format": FORMAT,
        "study": content.study.name,
        "run": content.run,
        "pack": content.sha256,
        "base": spec.base,
        "precision": precision,
        "beware": "What was evaluated is the pack. Labels were chosen by their likelihood behind the prompt, under its "
        "threshold and recalibration: other ways of asking are not what the report is about.",
    }


def _asked(pack: Pack, spec: Causal, tokenizer: Any, change: Change) -> dict[str, Any]:
    """How a task is asked, shown by a made-up record, and how far the answers are from those of the pack."""
    from clinfit.prompts.encode import Renderer

    task = pack.tasks[change.task].task
    renderer = Renderer(task, tokenizer, max_length=spec.train.max_length, shorten=spec.train.shorten)
    return {
        "labels": task.labels,
        "example": renderer.prompt_text(pack.probes.records[change.task][-1].inputs),
        f"change_{change.of}": change.value,
    }
