"""`clinfit compare`: the systems of several runs on the same test items, from saved predictions."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from clinfit.errors import ClinfitError
from clinfit.evaluation.across import Across, Run, across
from clinfit.files import followed, new_file, read_json, write_json
from clinfit.report.across import write_comparison
from clinfit.runs.finish import facts_of, saved_predictions
from clinfit.runs.folder import existing_run
from clinfit.study.load import load_study
from clinfit.study.schema import study_hash


def compare_runs(paths: Sequence[Path], out: Path, pairs: Sequence[str] = ()) -> Across:
    """Compare and write comparison.json and comparison.html below `out`. pairs: `NEW=REFERENCE`."""
    paths = [followed(path) for path in paths]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise ClinfitError(
            f"{len(paths)} run folders, {len({path.resolve() for path in paths})} of them different",
            expected="two or more different run folders",
            fix="clinfit compare RUN RUN",
        )
    results = across(read_runs(paths), [_pair(text) for text in pairs])
    write_json(out / "comparison.json", results)
    with new_file(out / "comparison.html") as path:
        write_comparison(results, path)
    return results


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs, named after their studies; runs of one study are told apart by their folder."""
    folders = [existing_run(path) for path in paths]
    studies = [load_study(folder.study) for folder in folders]
    names = _told_apart(
        [study.name for study in studies],
        [f"{study.name}/{folder.path.resolve().name}" for study, folder in zip(studies, folders, strict=True)],
        [str(path) for path in paths],
    )
    return [
        Run(
            name,
            str(path),
            study_hash(study),
            study,
            saved_predictions(folder),
            facts_of(folder, study),
            {task: read_json(folder.data(task)).get("test_inputs", {}) for task in study.tasks},
        )
        for name, path, study, folder in zip(names, paths, studies, folders, strict=True)
    ]


def _told_apart(*names: Sequence[str]) -> list[str]:
    """For each run the first of its names that no other run has."""
    return [
        next(name for name, often in zip(own, map(Counter, names), strict=True) if often[name] == 1)
        for own in zip(*names, strict=True)
    ]


def _pair(text: str) -> tuple[str, str]:
    new, sign, reference = (part.strip() for part in text.partition("="))
    if not (new and sign and reference):
        raise ClinfitError(
            f"--pair {text!r} names no two systems", expected="NEW=REFERENCE", fix="such as --pair 'tiny (after)=tfidf'"
        )
    return new, reference
