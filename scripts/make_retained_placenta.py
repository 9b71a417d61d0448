"""Writes studies/retained-placenta-synthetic.csv: made-up patients for the template beside it.

    python scripts/make_retained_placenta.py

Every column is drawn by itself, and so is the outcome, by lot: nothing in the file is connected with anything else, so
that no figure on it can be taken for a finding. The ranges are wide and round; they are those of no population.
Python's own generator makes the same file everywhere; a test fails where it would not.
"""

import csv
import io
import random
from pathlib import Path

TARGET = Path(__file__).parents[1] / "studies" / "retained-placenta-synthetic.csv"
PATIENTS, SEED = 400, 7
#: Share of the cells that are empty, and of the patients with the outcome.
MISSING, REMOVED = 0.05, 0.5

#: Column -> lowest and highest value, and decimals.
NUMBERS = {
    "age": (18, 45, 0),
    "gestational_age": (24, 42, 0),
    "birth_weight": (600, 4600, -1),
    "systolic": (80, 160, 0),
    "diastolic": (50, 100, 0),
    "pulse": (55, 130, 0),
    "temperature": (35.5, 39.0, 1),
    "haemoglobin": (6.0, 15.0, 1),
}
CATEGORIES = {"country": ["A", "B", "C"], "treatment": ["one", "other"]}


def rows() -> list[dict[str, str]]:
    draw = random.Random(SEED)
    return [patient(draw, number) for number in range(1, PATIENTS + 1)]


def patient(draw: random.Random, number: int) -> dict[str, str]:
    row = {"id": f"synthetic-{number:03d}"}
    row |= {name: draw.choice(values) for name, values in CATEGORIES.items()}
    for name, (low, high, decimals) in NUMBERS.items():
        value = round(draw.uniform(low, high), decimals)
        row[name] = "" if draw.random() < MISSING else f"{value:.{max(decimals, 0)}f}"
    return row | {"manual_removal": "yes" if draw.random() < REMOVED else "no"}


def table() -> str:
    """The file as text."""
    made, text = rows(), io.StringIO()
    writer = csv.DictWriter(text, list(made[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    return text.getvalue()


if __name__ == "__main__":
    TARGET.write_text(table(), encoding="utf-8")
    print(f"wrote {PATIENTS} made-up patients to {TARGET}")
