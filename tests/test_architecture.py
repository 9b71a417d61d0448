"""The walls of the house: who imports whom, what stays fast, what must never appear in the source."""

import ast
import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "clinfit"

#: A module may import from its own layer and from layers below it (docs/architecture.md).
LAYERS = [
    {"cli", "cli_data", "cli_files", "cli_models", "cli_packs", "cli_reading", "cli_runs", "cli_serve", "__main__"},
    {"serve"},
    {"runs"},
    {"packs.write"},
    {"report"},
    {"packs", "packs.read", "packs.probes", "packs.decide", "packs.answer", "packs.content"},
    {"evaluation"},
    {"predictions"},
    {"models"},
    {"training", "scoring"},
    {"prompts"},
    {"data"},
    {"study"},
    {"locks"},
    {"files", "machine"},
    {"errors", "findings", "__init__"},
]
#: Contracts without code of their own, which any layer may name.
CONTRACTS = {"clinfit.data.records", "clinfit.models.base", "clinfit.evaluation.results"}


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part(path: Path) -> str:
    """The package or top-level module that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def layer(module: str) -> int:
    """The layer of `clinfit.<package>.<module>`: that of the module where it has one of its own, else the package's."""
    names = module.split(".")[1:]
    for name in (".".join(names[:2]), names[0]):
        found = [number for number, layer in enumerate(LAYERS) if name in layer]
        if found:
            return found[0]
    raise AssertionError(f"{module} has no layer; add it to LAYERS and to docs/architecture.md")


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, deferred imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_downwards(path: Path) -> None:
    if path == SOURCE / "__init__.py":
        return  # names `run`, `load_pack` and `load_study` lazily
    own = "clinfit." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for module in imported(path):
        if module.startswith("clinfit.") and module not in CONTRACTS:
            assert layer(own) <= layer(module), f"{own} imports {module}, which lies above it"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_numbers_know_no_torch_and_models_know_no_metric(path: Path) -> None:
    modules = set(imported(path))
    if part(path) in {"evaluation", "report", "predictions"}:
        assert not {m for m in modules if m.split(".")[0] in {"torch", "transformers", "peft", "accelerate"}}
        assert not {m for m in modules if m.startswith("clinfit.models.") and m != "clinfit.models.base"}
    if part(path) in {"models", "training", "scoring", "prompts", "data", "study"}:
        assert not {m for m in modules if m.startswith(("clinfit.evaluation", "clinfit.report", "clinfit.predictions"))}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import clinfit",
        "import clinfit.cli",
        "import clinfit.study, clinfit.data.load, clinfit.data.audit",
        "import clinfit.predictions",
        "import clinfit.evaluation.evaluate",
        "import clinfit.report.build, clinfit.report.summary",
        "import clinfit.runs.execute, clinfit.packs.write, clinfit.runs.finish",
        "import clinfit.packs.read",
        "import clinfit.models.classical",
    ],
)
def test_no_torch_until_a_model_needs_it(code: str) -> None:
    heavy = "[name for name in ('torch', 'transformers', 'peft', 'accelerate') if name in sys.modules]"
    assert json.loads(python(f"import json, sys; {code}; print(json.dumps({heavy}))")) == []


def test_help_is_fast() -> None:
    """Half a second of processor time, best of three: other tests may run beside it."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "clinfit", "--help"], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0 and "predict" in done.stdout
    assert min(times) < 0.5


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_source_is_safe_and_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not {"pickle", "joblib", "dill"} & {module.split(".")[0] for module in imported(path)}
    assert not re.search(r"torch\.load\(|trust_remote_code\s*=\s*True|allow_pickle\s*=\s*True|shell\s*=\s*True", text)
    assert len(text.splitlines()) <= 450, "a file this long is two files"


def test_no_file_of_the_project_names_the_place_it_was_made_in() -> None:
    root = SOURCE.parents[1]
    places = re.compile(r"/" + r"work/|/" + r"root/|/" + r"home/\w|packages\." + r"internal", re.I)
    folders = ["src", "tests", "docs", "studies", "scripts", "benchmarks"]
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    texts = [path for path in files if path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".txt", ".j2"}]
    assert len(texts) > 20
    assert [path for path in texts if places.search(path.read_text(encoding="utf-8"))] == []
