"""Writes docs/models.md from the model blocks.

    python scripts/make_models_page.py

tests/test_docs.py fails while the page differs from what this script would write.
"""

from collections.abc import Iterator
from pathlib import Path

from clinfit.models.estimates.described import described_block, memory_gb
from clinfit.study.blocks import BLOCKS

PAGE = Path(__file__).parents[1] / "docs" / "models.md"

HEAD = """\
# Model blocks

Made from the blocks by `python scripts/make_models_page.py`; edit `src/clinfit/study/blocks.py`, not this page.

A model of a study may name a block, which fills in what the study leaves out: family, base, the layers of the adapter,
and the name. What the study writes wins, key by key in `lora`. The resolved study holds the values themselves.

```yaml
models:
  - {use: llama-3.2-1b}
  - {use: qwen-3-4b, name: qwen, lora: {rank: 8}, train: {learning_rate: 2e-4}}
```

```text
clinfit models list                  all blocks
clinfit models show qwen-3-4b        what stands below, and what the block fills in
```

- **None of these weights come with clinfit**, and none was run at full size for this page: a test builds each
  architecture small with random weights and the real chat template, where that is published in a package, and takes it
  through rendering, training, scoring, writing, saving and loading.
- **Memory is estimated** from the number of parameters: 2 bytes each at 16 bits; at 4 bits 0.5625 bytes (NF4 and its
  scales) for each in a linear layer, and 2 for the rest. `clinfit check STUDY` adds what training needs.
- **Revision**: no commit was looked up, since that needs the hub. Set `revision` to one, so that a base cannot change
  under you; the commit that was used is recorded either way.
- **Known troubles** are what others have met and what follows from the architecture, not what clinfit has measured.
"""


def page() -> str:
    return "\n".join([HEAD, *_table(), *(line for name in BLOCKS for line in _section(name))])


def _table() -> Iterator[str]:
    yield "| block | model | parameters | 16 bits | 4 bits | licence |"
    yield "|---|---|---:|---:|---:|---|"
    for name, block in BLOCKS.items():
        sizes = f"{block.parameters / 1e9:.2f} B | {memory_gb(block, 16):.1f} GB | {memory_gb(block, 4):.1f} GB"
        yield f"| [`{name}`](#{name.replace('.', '')}) | {block.title} | {sizes} | {block.licence} |"
    yield ""


def _section(name: str) -> Iterator[str]:
    yield from (f"## {name}", "")
    for heading, lines in described_block(BLOCKS[name]).items():
        if len(lines) == 1:
            yield f"- **{heading}**: {_escaped(lines[0])}"
        else:
            yield f"- **{heading}**:"
            yield from (f"  - {_escaped(line)}" for line in lines)
    yield ""


def _escaped(line: str) -> str:
    """Tags of chat markup would be taken for HTML."""
    return line.replace("<", "\\<")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(PAGE.parents[1])}")
