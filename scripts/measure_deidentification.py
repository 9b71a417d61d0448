"""Recall of the rules of data/deidentify.py, on identifiers that are planted into sentences of MTS-Dialog.

    CLINFIT_DATA=<data mirror> python scripts/measure_deidentification.py

One identifier of each kind goes into each note of the validation set and both test sets, in one of the forms below.
Half of the given names and all surnames are in no list of the rules. Among the usual forms are some that no rule finds:
they are there since people write so. Prints the table that docs/guide.md shows: recall by kind, the forms that are
missed, the sentences without an identifier in which the rules see one, and what is found in notes without any planted,
which are de-identified already but for some dates and names.
"""

import csv
import os
import random
import string
from collections import Counter
from pathlib import Path

from clinfit.data.deidentify import Kind, identifiers_of_record

GIVEN = """Maria Thomas Linda Ahmed Susan Kevin Olga Peter Wei Ruth Aurelio Thandiwe Bjarne Xiomara Okonkwo Siobhan
    Yuki Dragan Ludmila Parveen""".split()
SURNAMES = """Abernathy Okafor Lindqvist Nakamura Delacroix Whitfield Castellanos O'Rourke Petrov Zhang Haddad
    McAllister Osei Fitzgerald Varga Nguyen Blackwood Smith-Jones Ferreira Kowalski""".split()
ACCENTED_GIVEN = "José Émile Zoë Łukasz Björn Renée Şebnem Nguyễn".split()
ACCENTED_SURNAMES = "Álvarez Roux-Lefèvre Müller Żak Ångström Çelik Đặng Núñez".split()
STREETS = ["Maple Street", "Old Mill Road", "Lincoln Ave", "Birch Lane", "5th Avenue", "King Square", "Hillcrest Dr."]
TOWNS = [("Dayton", "OH", "45402"), ("San Mateo", "CA", "94401"), ("Bangor", "ME", "04401"), ("Tulsa", "OK", "74103")]
MONTHS = ["January", "Feb", "March", "April", "June", "Sept.", "October", "Dec"]

#: Kind -> sentences; what stands in braces is the identifier.
FORMS: dict[Kind, list[str]] = {
    "name": [
        "Mrs. {last} was seen today.", "{first} {last} is here with a family member.", "Dr. {last} will follow up.",
        "Name: {last}, {first}.", "My name is {first} {last}.", "The history was given by her daughter {first}.",
        "{first} says that it is better.", "Referred by {first} {last}, MD.", "{last} tolerated it well.",
        "Discussed with Dr {first} {last} of cardiology.", "Dr. {i}. {last} was consulted.",
        "Seen by {i}. {last} in clinic.", "MR {FIRST} {LAST} was admitted.", "MRS {LAST} DENIES PAIN.",
        "Mr. {afirst} {alast} slept well.", "Dr. {alast} agrees.", "Name: {FIRST} {LAST}", "NAME: {LAST}, {FIRST}",
        "Mr.{last} was discharged.", "MR {FIRST} {LAST} WAS SEEN TODAY.", "Reviewed with {i}. {last}, MD.",
        "Patient: {LAST}, {FIRST}", "Drs. {last} and {last2} agree.", "{FIRST} {LAST} WAS SEEN.",
        "{alast} tolerated it well.",
    ],
    "date": [
        "Seen on {m}/{d}/{yyyy}.", "Admitted {yyyy}-{mm}-{dd}.", "It began on {month} {d}, {yyyy}.",
        "Surgery was {d} {month} {yyyy}.", "Last seen in {month} {yyyy}.", "DOB: {mm}/{dd}/{yy}.",
        "Return on {m}/{d}.", "He was born on the {d}th of {month}, {yyyy}.", "Discharged {dd}.{mm}.{yyyy}.",
    ],
    "phone": [
        "Call {ddd}-{ddd}-{dddd}.", "Phone: ({ddd}) {ddd}-{dddd}.", "Reach the daughter at {ddd}.{ddd}.{dddd}.",
        "Fax {ddd} {ddd} {dddd}.", "Mobile +44 20 7{ddd} {dddd}.", "The number is {ddd}-{dddd}.",
        "Cell 1-{ddd}-{ddd}-{dddd}.", "Tel. 0{ddd} {ddd}{dddd}.",
    ],
    "record": [
        "MRN {ddd}{dddd}.", "MRN: {ddd}-{ddd}-{ddd}.", "Medical record number {dddd}{dd2}.", "SSN {ddd}-{dd2}-{dddd}.",
        "Account no. A{dddd}{dd2}.", "Chart #{dddd}{d1}.", "NHS number {ddd} {ddd} {dddd}.",
        "Policy number X{dd2}-{dddd}.", "Patient ID {dddd}{dddd}.", "Accession {dd2}-{dddd}.",
    ],
    "email": [
        "Write to {user}@mail.example.com.", "E-mail: {user}@example.org", "Ask {user}@clinic.example.co.uk for it.",
    ],
    "address": [
        "She lives at {number} {street}.", "Address: {number} {street}, {town}, {state} {zip}.",
        "Moved to {number} N. {street}, Apt {d1}, {town}.", "Send it to P.O. Box {dddd}.",
        "He comes from {town}, {state} {zip}.", "Home is {number} {street}, Unit {d1}.", "Postcode SW{d1}A {d1}AB.",
    ],
}  # fmt: skip


#: Ways of writing that no rule was made for, but for the surnames White and Black.
ODD_FORMS: dict[Kind, list[str]] = {
    "name": [
        "mrs {last} was seen today.", "{last} tolerated it well.", "pt {first} {last} is stable.",
        "MR {last} CAME ALONE.", "Per {last}, no change.", "Her neighbour {last} called.",
        "Dr. {word} will follow up.", "MISS {LAST} CAME ALONE.", "{i}.{i2}. was seen.", "Cc: {last}/{last2}.",
    ],
    "date": [
        "Seen {d}-{month}-{yyyy}.", "Admitted {yyyy}{mm}{dd}.", "It began on the {d}th.", "Back {m}-{d}.",
        "Since late {month}.", "In '{yy} he fell.",
    ],
    "phone": [
        "Number: {dddd} {dddd}.", "Reach at {ddd} {dddd}.", "ph{ddd}{ddd}{dddd}", "Phone {ddd}/{dddd}.",
        "Call ext {dddd}.",
    ],
    "record": [
        "Accession {dd2}-{dddd}.", "Visit {dddd}{d1}.", "ID {dd2}-{dd2}-{dd2}.", "Specimen S{dd2}-{dddd}.",
        "File {dddd}{d1}A.", "Bed 4, no {dddd}{dd2}.",
    ],
    "email": ["Write to {user} at example dot com.", "E-mail {user}@example", "Mail: {user} @example.org"],
    "address": [
        "Lives on {street}.", "From {town}.", "Lives in {town}, {state}.", "Zip {zip}.", "Flat {d1}, {street}, {town}.",
    ],
}  # fmt: skip

#: What looks like an identifier and is none; some of it is what rules were made for.
DECOYS = [
    "Pain of 6/10 at rest.", "Strength of 5/5 in both arms.", "She rates it a 7/10, with a baseline of 4/10.",
    "Pain went from 8/10 to 2/10.", "Vision of 20/20, BP 120/80.", "Reflexes of 2/4.", "Improved on 3/4 of the tests.",
    "Ibuprofen 400-1200 mg daily.", "CD4 count 200-1500.", "Leukocytes 120-1000.", "Ferritin 135-1451 was quoted.",
    "Give the patient 1000 mg now.", "The patient 2000 mL received.", "Since visit 2019 no change.", "Case 20-30 2010.",
    "HIV RNA 1234567 copies/mL.", "Platelets 1500000.", "The mRNA-1273 vaccine.", "Vitamin B12 1MG daily.",
    "MR ANGIOGRAPHY WAS NORMAL.", "The MR IMAGING showed it.", "MS CONTIN 15 MG BID.", "MS Contin helps.",
    "SEVERE MR. GAIT IS NORMAL.", "MS FLARE LAST YEAR.", "DR SCREENING IS DUE.", "PT EVALUATION.",
    "MR ALLERGIES REVIEWED.", "MS WALKS WITH A CANE.", "Seen by Cardiology.", "Drug name: Aspirin.",
    "In Virginia it began.", "Her mother Alzheimer type.", "Grade 3 May be.",
]  # fmt: skip


def planted(form: str, rng: random.Random) -> str:
    """The form with made-up values."""
    town, state, code = rng.choice(TOWNS)
    month, day, year = rng.randint(1, 12), rng.randint(1, 28), rng.randint(1935, 2024)

    def digits(n: int) -> str:
        return str(rng.randint(2, 9)) + "".join(rng.choice(string.digits) for _ in range(n - 1))

    first, last, last2 = rng.choice(GIVEN), rng.choice(SURNAMES), rng.choice(SURNAMES)
    values = {
        "first": first, "last": last, "last2": last2, "FIRST": first.upper(), "LAST": last.upper(), "i": first[0],
        "i2": last[0], "afirst": rng.choice(ACCENTED_GIVEN), "alast": rng.choice(ACCENTED_SURNAMES),
        "word": rng.choice(["White", "Black", "Good", "Will"]), "m": month, "d": day, "mm": f"{month:02d}",
        "dd": f"{day:02d}", "yyyy": year, "yy": f"{year % 100:02d}", "month": rng.choice(MONTHS), "ddd": digits(3),
        "dddd": digits(4), "dd2": digits(2), "d1": digits(1), "user": f"{first[0]}.{last}".lower().replace("'", ""),
        "number": rng.randint(1, 9999), "street": rng.choice(STREETS), "town": town, "state": state, "zip": code,
    }  # fmt: skip
    return form.format(**values)


def must_go(form: str, text: str) -> tuple[int, int]:
    """Where the identifier stands in the planted text: what differs from the form, from its first brace to its last."""
    before, after = form.split("{", 1)[0], form.rsplit("}", 1)[1]
    return len(before), len(text) - len(after)


def measured(notes: list[str], all_forms: dict[Kind, list[str]]) -> tuple[Counter[Kind], int, Counter[str]]:
    """How many identifiers of each kind are found, in how many notes all of them, and the forms that are missed."""
    rng = random.Random(1)
    found: Counter[Kind] = Counter()
    missed: Counter[str] = Counter()
    clean = 0
    for note in notes:
        forms = {kind: rng.choice(each) for kind, each in all_forms.items()}
        order = list(forms)
        rng.shuffle(order)
        text = note
        places: dict[Kind, tuple[int, int]] = {}
        for kind in order:
            sentence = planted(forms[kind], rng)
            start, end = must_go(forms[kind], sentence)
            places[kind] = (len(text) + 1 + start, len(text) + 1 + end)
            text = f"{text} {sentence}"
        covered = {at for each in identifiers_of_record([text])[0] for at in range(each.start, each.end)}
        gone = {kind for kind, place in places.items() if covered.issuperset(_letters(text, *place))}
        found.update(gone)
        missed.update(forms[kind] for kind in forms if kind not in gone)
        clean += len(gone) == len(forms)
    return found, clean, missed


def _letters(text: str, start: int, end: int) -> list[int]:
    """Where letters and digits stand."""
    return [at for at in range(start, end) if text[at].isalnum()]


def main() -> None:
    folder = Path(os.environ["CLINFIT_DATA"]) / "mts_dialog"
    files = ["ValidationSet", "TestSet-1-MEDIQA-Chat-2023", "TestSet-2-MEDIQA-Sum-2023"]
    notes: list[str] = []
    for name in files:
        with (folder / f"MTS-Dialog-{name}.csv").open(encoding="utf-8", newline="") as rows:
            notes += [" ".join(row["section_text"].split()) for row in csv.DictReader(rows)]
    plain, plain_clean, plain_missed = measured(notes, FORMS)
    odd, odd_clean, odd_missed = measured(notes, ODD_FORMS)
    print(f"{len(notes)} notes, one identifier of each kind in each\n\n| identifier | usual forms | odd forms |")
    print("|---|---|---|")
    for kind in FORMS:
        print(f"| {kind} | {plain[kind] / len(notes):.0%} | {odd[kind] / len(notes):.0%} |")
    print(f"| all six of a note | {plain_clean / len(notes):.0%} | {odd_clean / len(notes):.0%} |\n")
    for form, times in [*plain_missed.most_common(), *odd_missed.most_common()]:
        print(f"missed {times} times: {form}")
    seen = [sentence for sentence in DECOYS if identifiers_of_record([sentence])[0]]
    print(f"\n{len(seen)} of {len(DECOYS)} sentences without an identifier seem to hold one: {seen}")
    unplanted = Counter(each.kind for note in notes for each in identifiers_of_record([note])[0])
    print(f"\nfound without any planted, in {sum(len(note.split()) for note in notes):,} words: {dict(unplanted)}")


if __name__ == "__main__":
    main()
