"""The documents are true: their commands run, their links lead somewhere, their tables name what is there.

Commands in `sh` and `python` blocks of README.md and docs/ are run, in order, in a copy of what they need; a small
table of made-up notes stands in for the reader's own. ELSEWHERE lists the few that other tests run, and where.
"""

import ast
import importlib.util
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import forked
from clinfit import __version__
from clinfit.data.load import load_task
from clinfit.study.load import load_study

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "clinfit"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]

#: The line of Python that opens the pack of a shipped study.
PACK_OF_TWO = 'pack = clinfit.load_pack("runs/pubmedqa-dreaddit/latest/models/rehearsal-seed1/pack")'
#: Commands that set the project up: run from a checkout, not from the reader's folder.
ELSEWHERE = {
    "clinfit reading result runs/letters/latest ratings-ab.json ratings-cd.json": "runs/test_reading.py",
    **dict.fromkeys(
        (
            "clinfit predict runs/pubmedqa-dreaddit/latest/models/rehearsal-seed1/pack"
            f" --task {task} --input {name}.csv --output {name}-answers.csv"
            for task, name in (("pubmedqa", "question"), ("dreaddit", "post"))
        ),
        "test_the_examples_for_a_pack_of_two_tasks_work",
    ),
    PACK_OF_TWO: "test_the_examples_for_a_pack_of_two_tasks_work",
    "make demo": "test_packaging.py: the target runs the quickstart; a shortened one is run there",
    "make test": "test_packaging.py: the target runs pytest, which is what you are reading the result of",
    "pip install .": "test_packaging.py: builds the wheel and uses it from another folder",
    "pip install '.[serve]'": "test_packaging.py: the extras exist and are pinned",
    "pip install '.[ray]'": "test_packaging.py: the extras exist and are pinned",
    "clinfit run study.yaml --executor ray": "runs/test_ray.py",
    "pip install '.[minilm,tensorboard]'": "test_packaging.py: the extras exist and are pinned",
}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(language, text) for language, text in found]


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------- the reader's folder


#: Records of a table: half of what the pages say, so that what they train is trained in half the time.
N = 60


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder as a reader has it: notes.csv with three made-up notes a patient, new.csv without labels.

    other.csv and diagnoses.csv hold answers of other tools, events.csv several labels a note, exam.csv questions,
    letters.csv letters with summaries.
    trials.csv  abstracts with the values of three fields.
    """
    rows = []
    for i in range(N):
        fell = i // 3 % 2
        note = f"Bed {i}. {'Fell' if fell else 'Slept well'} on day {i % 3}, vital signs stable."
        rows.append(f'n{i},p{i // 3},"{note}",{fell}')
    (tmp_path / "notes.csv").write_text("\n".join(["id,patient,note,fall", *rows]) + "\n")
    labels = ["fall" if i // 3 % 2 else "no fall" for i in range(N)]
    answers = [f"n{i},{label},{label},{0.8 if label == 'fall' else 0.1}" for i, label in enumerate(labels)]
    (tmp_path / "other.csv").write_text("\n".join(["id,gold,predicted,p_fall", *answers]) + "\n")
    sets = ["asthma", "asthma|flu", "", "copd"]
    diagnoses = [f"v{i},{sets[i % 4]},{sets[i % 4 if i % 5 else 0]}" for i in range(60)]
    (tmp_path / "diagnoses.csv").write_text("\n".join(["id,gold,predicted", *diagnoses]) + "\n")
    told = ["", "pain", "confusion", "fall;pain", "fall", "pain;confusion"]
    events = [f'n{i},p{i // 3},"Note {i} of the night: {told[i % 6] or "nothing"}.",{told[i % 6]}' for i in range(N)]
    (tmp_path / "events.csv").write_text("\n".join(["id,patient,note,events", *events]) + "\n")
    options = [[i + 1 if at == i % 3 else 7 * i + at for at in range(3)] for i in range(N)]
    exam = [f"Which number comes after {i}?,{','.join(map(str, options[i]))},{i % 3 + 1}" for i in range(N)]
    letters = [
        f'l{i},"Dear colleague, bed {i} fell on day {i % 5}. No fracture.",Fell on day {i % 5}' for i in range(N)
    ]
    (tmp_path / "letters.csv").write_text("\n".join(["id,letter,summary", *letters]) + "\n")
    trials = [f"Drug {k % 7} was given to {k} adults.,drug {k % 7},{k if k % 3 else ''},increased" for k in range(N)]
    (tmp_path / "trials.csv").write_text("\n".join(["abstract,drug,dose_mg,effect", *trials]) + "\n")
    (tmp_path / "new-letters.csv").write_text('id,letter\nn1,"Dear colleague, bed 3 slept well."\n')
    (tmp_path / "exam.csv").write_text("\n".join(["question,first,second,third,right", *exam]) + "\n")
    new = ["id,note", "a,Patient fell beside the bed.", "b,Slept well and asked for tea."]
    (tmp_path / "new.csv").write_text("\n".join(new) + "\n")
    return tmp_path


def run(words: list[str], desk: Path) -> str:
    done = forked.run(words, desk, os.environ | {"COLUMNS": "120"})
    assert done.returncode == 0, f"{words[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_line(line: str, desk: Path) -> str:
    """A line of a shell: a program and its words, and nothing that only a shell understands."""
    assert not set(line) & set("|&;<>$`*?~#\\"), line
    program, *words = shlex.split(line)
    assert program == "clinfit", line
    return run(["-m", program, *words], desk)


def read_through(page: Path, desk: Path) -> str:
    """Do what a page says, from top to bottom; the output of its last command."""
    output = ""
    for block in blocks(page):
        if block.language == "yaml":
            (desk / f"{yaml.safe_load(block.text)['name']}.yaml").write_text(block.text)
        elif block.language == "python" and ELSEWHERE.keys().isdisjoint(block.text.splitlines()):
            output = run(["-c", block.text], desk)
        elif block.language == "sh":
            for line in block.text.splitlines():
                if line not in ELSEWHERE:
                    output = run_line(line, desk)
    return output


@pytest.mark.slow
def test_the_readme_works(desk: Path) -> None:
    read_through(ROOT / "README.md", desk)
    answers = (desk / "answers.csv").read_text().splitlines()
    assert answers[0] == "id,p_no fall,p_fall,predicted,decision,threshold,status,notes"
    assert len(answers) == 3


@pytest.mark.slow
def test_the_guide_works(desk: Path) -> None:
    read_through(ROOT / "docs" / "guide.md", desk)
    answers = [line.split(",") for line in (desk / "answers.csv").read_text().splitlines()]
    assert [row[0] for row in answers] == ["id", "a", "b"]
    assert (desk / "runs/study/latest/report.html").is_file()
    for task, answered in (("exam", N), ("fall", 2)):
        assert len((desk / f"{task}-answers.csv").read_text().splitlines()) == 1 + answered


def write_two_tasks(desk: Path) -> None:
    """pubmedqa-dreaddit.yaml as it is shipped, with made-up records, one model and two steps a stage."""
    study = yaml.safe_load((ROOT / "studies" / "pubmedqa-dreaddit.yaml").read_text(encoding="utf-8"))
    (desk / "prompts").symlink_to(ROOT / "studies" / "prompts")
    split = ["test" if k % 5 == 0 else "train" for k in range(60)]
    answers = ["yes", "no", "maybe"]
    asked = [f"q{k},Does drug {k} help?,It helped {k} of 60.,{answers[k % 3]},{split[k]}" for k in range(60)]
    posts = [f"p{k},t{k},Post {k} {'I worry' if k % 2 else 'all is well'}.,{k % 2},{split[k]},0.8" for k in range(60)]
    (desk / "asked.csv").write_text("\n".join(["id,question,contexts,answer,split", *asked]) + "\n")
    (desk / "posts.csv").write_text("\n".join(["id,post_id,text,label,split,confidence", *posts]) + "\n")
    for task, name in (("pubmedqa", "asked"), ("dreaddit", "posts")):
        study["tasks"][task]["data"]["path"] = f"{name}.csv"
    models = {model["name"]: model for model in study["models"]}
    models["rehearsal"]["train"] |= {"max_steps": 2, "max_length": 128}
    study |= {"models": [models["majority"], models["rehearsal"]], "seeds": [1], "evaluation": {"bootstrap": 100}}
    (desk / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


@pytest.mark.slow
def test_the_examples_for_a_pack_of_two_tasks_work(desk: Path) -> None:
    write_two_tasks(desk)
    run_line("clinfit run study.yaml", desk)
    section = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8").partition("### Asking a pack of two tasks")[2]
    (desk / "section.md").write_text(section.partition("\n### ")[0] + "\n")
    shown = blocks(desk / "section.md")
    for name, table in zip(("question", "post"), [b.text for b in shown if b.language == "csv"], strict=True):
        (desk / f"{name}.csv").write_text(table)
    for line in next(block.text for block in shown if block.language == "sh").splitlines():
        run_line(line, desk)
    for name, id_, labels in (("question", "q1", ["yes", "no", "maybe"]), ("post", "p1", ["no stress", "stress"])):
        head, row = (desk / f"{name}-answers.csv").read_text().splitlines()
        assert head.startswith(",".join(["id", *(f"p_{label}" for label in labels)])) and row.startswith(f"{id_},")
    said = run(["-c", next(block.text for block in shown if block.language == "python")], desk)
    assert [line.split()[0] for line in said.splitlines()] == ["pubmedqa", "dreaddit"]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_is_run_somewhere(page: Path) -> None:
    """Only README, the guide and the page on serving hold commands, which serve/test_page_of_serving.py runs; other
    pages show output and layouts."""
    commands = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    assert page.name in {"README.md", "guide.md", "serving.md"} or commands == []
    runs = ("clinfit ", "curl ", "redis-cli ") if page.name == "serving.md" else ("clinfit ",)
    unknown = [line for line in commands if line not in ELSEWHERE and not line.startswith(runs)]
    assert unknown == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "guide.md"], ids=ids)
def test_studies_on_a_page_can_be_run(page: Path, desk: Path) -> None:
    studies = [block.text for block in blocks(page) if block.language == "yaml"]
    assert studies
    for text in studies:
        (desk / "shown.yaml").write_text(text)
        study = load_study(desk / "shown.yaml")
        for name, task in study.tasks.items():
            assert len(load_task(name, task, study.folder).records) == N


# ---------------------------------------------------------------- links, words, citation


def anchors(page: Path) -> set[str]:
    """The anchors that headings get where Markdown is shown."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if target.startswith("https://"):
            continue
        path = (page.parent / name) if name else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    "path", [*TEXTS, ROOT / "Makefile", ROOT / "constraints.txt", ROOT / ".ci" / "run", ROOT / "CITATION.cff"], ids=ids
)
def test_texts_are_finished_and_name_no_private_place(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    private = r"/" + r"work/|/" + r"root/|/" + r"home/\w|packages\." + r"internal"
    unfinished = r"\b(TODO|FIXME|TBD|XXX|lorem ipsum)\b"
    hosts = r"pypi\." + r"org/simple|files\.python" + r"hosted|download\.py" + r"torch|index-url\s+http"
    assert re.findall(f"{private}|{unfinished}|{hosts}", text, re.IGNORECASE) == []


def test_citation_and_changelog_name_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    assert {"message", "title", "authors", "type", "date-released"} <= citation.keys()
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# ---------------------------------------------------------------- pages that name code


PAGES_OF_CODE = [
    "make_metrics_page", "make_results_page", "make_sets_page", "make_models_page", "make_text_metrics_page",
    "make_places",
]  # fmt: skip


@pytest.mark.parametrize("name", PAGES_OF_CODE)
def test_the_pages_made_from_code_are_up_to_date(name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "type: make reference"


def test_architecture_names_folders_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Folders")[2].partition("Beside the package")[0]
    rows = [row for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) if "`" in row]
    assert len(rows) > 10
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        beside = (SOURCE / first).parent
        absent = [name for name in others if not (beside / name).exists() and not (SOURCE / name).exists()]
        assert (SOURCE / first).exists() and absent == [], row


def finding_codes() -> set[str]:
    """The codes of all findings that the source makes, where they are written as they are."""
    codes = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                codes |= {arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)}
    return codes


def test_the_guide_explains_every_finding() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    codes = finding_codes()
    assert len(codes) > 15
    assert sorted(code for code in codes if f"`{code}`" not in guide) == []


def test_the_guide_explains_no_finding_that_does_not_exist() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    section = guide.partition("## Findings")[2].partition("\n## ")[0]
    named = {
        code for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for code in re.findall(r"`([^`]+)`", row)
    }
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    for name in named - {"clinfit check", "-validation", "-test"}:
        stem = re.sub(r"-(train|validation|test)$", "-{split}", name)
        assert f'"{name}"' in code or f'"{stem}"' in code, name


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=ids)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", page.read_text(encoding="utf-8")))
    missing = [name for name in named if not (ROOT / name).is_file() and not (SOURCE / name).is_file()]
    assert sorted(missing) == []
