from pathlib import Path

import jinja2
import workload


def test_rendered_prompt_is_what_the_chat_template_writes():
    written = jinja2.Template(workload.CHAT_TEMPLATE).render(
        messages=[{"role": "user", "content": "Is this about cancer?"}],
        bos_token=workload.BOS,
        add_generation_prompt=True,
    )
    assert workload.rendered("Is this about cancer?") == written


def test_scored_subset_comes_from_the_held_out_end(tmp_path: Path):
    examples = [workload.Example(str(i), "Cancer", i) for i in range(workload.SCORE_PROMPTS + 10)]
    workload.write_examples(tmp_path / "examples.jsonl", examples)
    assert workload.training_examples(tmp_path, 3) == examples[:3]
    assert workload.scoring_examples(tmp_path, 1) == examples[10:]
    assert workload.scoring_examples(tmp_path, 8) == examples[10::8]
