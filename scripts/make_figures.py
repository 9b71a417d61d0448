"""The README's figures on records that chose nothing: `make figures`.

    1. studies/cancer-abstracts.yaml is run (or its run of last time taken up again).
    2. Its packs answer records of another collection, which no choice of that study has looked at: abstracts of OHSUMED
       (MEDLINE 1987 to 1991), of which those in the category neoplasms are about cancer. They are drawn by the SHA-256
       of their ids, as many of each kind, before anything is scored.
    3. docs/figures.json gets what came out, and the README's table is made from it.

A second scoring of other models is a development figure again, so that it must be asked for (--again) and is noted.
"""

import argparse
import hashlib
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

import clinfit
from clinfit.data.catalog.sets import read_catalog
from clinfit.evaluation.results import Results
from clinfit.files import hash_json, write_json, write_text
from clinfit.report.tables import by_rank
from clinfit.runs.external.answers import evaluate_files

ROOT = Path(__file__).resolve().parents[1]
STUDY, FIGURES, README = ROOT / "studies/cancer-abstracts.yaml", ROOT / "docs/figures.json", ROOT / "README.md"
LABELS = ["Non-Cancer", "Cancer"]
#: Records of each label; words that an abstract must have to be one.
OF_EACH, LEAST_WORDS = 300, 50
BEGIN, END = "<!-- held-out figures: begin -->", "<!-- held-out figures: end -->"
SHOWN = ("accuracy", "auroc", "sensitivity", "specificity", "calibration_intercept", "calibration_slope")


def held_out() -> pd.DataFrame:
    """The records: id, title, abstract, gold; none of them is in the study's own collection."""
    table = read_catalog("ohsumed")
    known = {_words(title) for title in read_catalog("cancer-abstracts")["title"]}
    table = table.loc[[len(text.split()) >= LEAST_WORDS for text in table["abstract"]]]
    table = table.loc[[_words(title) not in known for title in table["title"]]]
    cancer = ["C04" in cell.split("|") for cell in table["categories"]]
    table = table.assign(gold=[LABELS[is_cancer] for is_cancer in cancer])
    order = table["id"].map(lambda name: hashlib.sha256(name.encode()).hexdigest()).sort_values().index
    drawn = [table.loc[order].query("gold == @label").head(OF_EACH) for label in LABELS]
    return pd.concat(drawn).sort_values("id")[["id", "title", "abstract", "gold"]].reset_index(drop=True)


def _words(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def answers(packs: dict[str, Path], records: pd.DataFrame, folder: Path) -> list[Path]:
    """A predictions file of each pack."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for run, place in packs.items():
        pack = clinfit.load_pack(place)
        said = pack.predict(records.rename(columns={"id": "pmid"}).drop(columns="gold"), say=print)
        table = pd.DataFrame({"id": records["id"], "gold": records["gold"], "predicted": said["decision"]})
        table["model"] = run.rpartition("-seed")[0]
        for label in LABELS:
            table[f"p_{label}"] = said[f"p_{label}"]
        files.append(folder / f"{run}.csv")
        table.to_csv(files[-1], index=False)
    return files


def figures(results: Results) -> dict[str, dict[str, Any]]:
    """Model -> metric -> value and interval."""
    task = results["tasks"][next(iter(results["tasks"]))]
    return {
        system["name"]: {
            name: [system["metrics"][name][part] for part in ("value", "low", "high")]
            for name in SHOWN
            if name in system["metrics"]
        }
        for system in by_rank(task)
    }


def table_of(content: dict[str, Any]) -> str:
    """The README's table."""
    rows = ["| system | right [95 %] | AUROC [95 %] |", "|---|---:|---:|"]
    for name, metrics in content["models"].items():
        rows.append(f"| {name} | {_percent(metrics['accuracy'])} | {_decimal(metrics.get('auroc'))} |")
    return "\n".join(rows)


def _percent(found: list[float | None]) -> str:
    return " ".join(_parts([None if part is None else f"{100 * part:.1f}" for part in found], " %"))


def _decimal(found: list[float | None] | None) -> str:
    return "" if found is None else " ".join(_parts([None if part is None else f"{part:.3f}" for part in found], ""))


def _parts(texts: list[str | None], unit: str) -> list[str]:
    value, low, high = texts
    if value is None:
        return ["none"]
    return [value + unit] if low is None or high is None else [value + unit, f"[{low}, {high}]"]


def with_table(readme: str, table: str) -> str:
    """The README with the table between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--again", action="store_true", help="score other models on the same records once more")
    asked = options.parse_args()
    result = clinfit.run(STUDY)
    records = held_out()
    packs = {name: clinfit.load_pack(place).content.sha256 for name, place in result.packs.items()}
    earlier = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"scored": []}
    if earlier["scored"] and earlier["packs"] != packs and not asked.again:
        print("These records were scored before, by other models: a second look chooses. --again, if it is meant.")
        return 2
    folder = ROOT / "build/figures"
    found = evaluate_files(
        answers(result.packs, records, folder), folder / "report", labels=LABELS, positive="Cancer", name="held-out"
    )
    same = bool(earlier["scored"]) and earlier["packs"] == packs
    content = {
        "records": {"source": "catalog:ohsumed", "n": len(records), "ids": hash_json(records["id"].tolist())},
        "packs": packs,
        "scored": earlier["scored"] if same else [*earlier["scored"], date.today().isoformat()],
        "models": figures(found),
    }
    write_json(FIGURES, content)
    write_text(README, with_table(README.read_text(encoding="utf-8"), table_of(content)))
    print(table_of(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
