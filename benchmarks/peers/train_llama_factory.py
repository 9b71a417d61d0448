"""LLaMA-Factory: the training that `llamafactory-cli train FILE.yaml` runs, with its defaults."""

import json
import sys
import types
from importlib.machinery import ModuleSpec

from train import PeerOptions, options_of, settings
from workload import LORA_ALPHA, LORA_RANK, MAX_LENGTH, write_result


def without_torchaudio() -> None:
    """LLaMA-Factory imports torchaudio at start, for audio only; its wheel does not load beside a CPU torch."""
    module = types.ModuleType("torchaudio")
    module.__spec__ = ModuleSpec("torchaudio", loader=None)
    sys.modules["torchaudio"] = module


def study(options: PeerOptions) -> dict[str, object]:
    """The arguments as they would stand in its YAML file; the data set is written beside them."""
    rows = [{"instruction": example.prompt, "input": "", "output": example.answer} for example in options.examples]
    (options.scratch / "abstracts.json").write_text(json.dumps(rows))
    (options.scratch / "dataset_info.json").write_text(json.dumps({"abstracts": {"file_name": "abstracts.json"}}))
    chosen = settings(options)
    return chosen | {
        "output_dir": str(options.scratch / "out"),
        "model_name_or_path": str(options.model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": LORA_RANK,
        "lora_alpha": LORA_ALPHA,
        "lora_target": "all",
        "dataset_dir": str(options.scratch),
        "dataset": "abstracts",
        "template": "llama3",
        "cutoff_len": MAX_LENGTH,
        "overwrite_cache": True,
        "plot_loss": False,
        "include_num_input_tokens_seen": "all",
    }


if __name__ == "__main__":
    options = options_of(__doc__)
    without_torchaudio()
    from llamafactory.train.tuner import run_exp

    run_exp(study(options))
    state = json.loads((options.scratch / "out" / "trainer_state.json").read_text())
    outcome = json.loads((options.scratch / "out" / "train_results.json").read_text())
    write_result(
        options.result,
        seconds=outcome["train_runtime"],
        examples=len(options.examples),
        losses=[entry["loss"] for entry in state["log_history"] if "loss" in entry],
        cells=state["num_input_tokens_seen"],
        tokens=sum(example.tokens for example in options.examples),
    )
