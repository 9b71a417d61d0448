"""TRL's SFTTrainer: `trl` with its defaults, `trl_compact` with its answer-positions-only loss forced on.

TRL scores only answer positions on devices with Triton; on a CPU its loss runs the head on every position. The
second row switches the choice that TRL makes by itself on a GPU, and gradient checkpointing off: the strongest
TRL that this machine can show. The switch is a private name of TRL 1.16; `assert` notices when it moves.
"""

from datasets import Dataset
from peft import LoraConfig
from train import PeerOptions, measure, options_of, settings
from trl import SFTConfig, SFTTrainer
from trl.trainer import utils as trl_utils
from workload import LORA_ALPHA, LORA_RANK, MAX_LENGTH, Example


def conversations(examples: list[Example]) -> Dataset:
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": example.prompt}],
                "completion": [{"role": "assistant", "content": example.answer}],
            }
            for example in examples
        ]
    )


def trainer(options: PeerOptions) -> SFTTrainer:
    chosen = settings(options)
    if options.variant == "compact":
        assert hasattr(trl_utils, "_use_triton"), "this TRL chooses its loss positions elsewhere"
        trl_utils._use_triton = lambda device: True
        chosen["gradient_checkpointing"] = False
    return SFTTrainer(
        model=str(options.model),
        args=SFTConfig(max_length=MAX_LENGTH, **chosen),
        train_dataset=conversations(options.examples),
        peft_config=LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


if __name__ == "__main__":
    options = options_of(__doc__)
    measure(trainer(options), options)
