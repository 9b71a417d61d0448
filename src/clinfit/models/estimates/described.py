"""What a person is told of a model block: its weights in memory, its adapter, its template, what to beware of."""

from clinfit.models.estimates.memory import weight_bytes
from clinfit.study.blocks import BLOCKS, Block

THINKING = {
    "none": "no reasoning before answers",
    "off": "reasoning before answers is switched off in the template",
    "stripped": "the reasoning that the template begins before answers is taken away; `clinfit check` warns of it",
}


def memory_gb(block: Block, bits: int) -> float:
    """Memory of the weights in 10^9 bytes, estimated; bits: 16, or 4 for its linear layers."""
    return weight_bytes(block.parameters, block.multiplied, 2, four_bit=bits == 4) / 1e9


def listed_blocks() -> list[tuple[str, str, str, str, str]]:
    """One row a block: its name, its hub id, parameters, memory at 16 and 4 bits, licence."""
    return [
        (name, block.base, f"{block.parameters / 1e9:.2g} B", _memory(block), block.licence)
        for name, block in BLOCKS.items()
    ]


def described_block(block: Block) -> dict[str, list[str]]:
    """Heading -> lines, all that is known of a block."""
    revision = block.revision or "not looked up; main is taken, and its commit is recorded when it runs"
    return {
        "base": [block.base],
        "revision": [revision],
        "licence": [block.licence],
        "size": [f"{block.parameters:,} parameters ({block.architecture}), reads up to {block.context:,} tokens"],
        "memory of the weights (estimated)": [
            f"16 bits: {memory_gb(block, 16):.1f} GB",
            f"4 bits: {memory_gb(block, 4):.1f} GB (`quantization: 4bit`, an NVIDIA GPU)",
            "training adds what `clinfit check STUDY` estimates: adapter, activations, logits",
        ],
        "lora.targets": [", ".join(block.targets)],
        "template": [block.template, THINKING[block.thinking]],
        "known troubles": list(block.troubles) or ["none recorded"],
    }


def _memory(block: Block) -> str:
    return f"{memory_gb(block, 16):.1f} / {memory_gb(block, 4):.1f} GB"
