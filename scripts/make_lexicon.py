"""Writes the lexicon of problems and drugs that the entity metrics use, and the card beside it.

    CLINFIT_DATA=<data mirror> python scripts/make_lexicon.py [--mesh desc2026.xml]

A line of the lexicon is one entity: `problem` or `drug`, a tab, and its names, parted by `|`. Sources:

- MedQuAD (CC BY 4.0): the focus of each document on a disorder, with its synonyms: one entity.
- PubMedQA (MIT): MeSH headings of its abstracts; problems by their last word (`-itis`, `Neoplasms`), drugs as below.
- Evidence Inference (MIT): words of interventions and comparators. MedMCQA (MIT): options of pharmacology questions.
  Words of both count as drugs where they end in a stem of the WHO's list of international non-proprietary names.
- COMMON_DRUGS: names without such a stem, written for this project.
- With --mesh, descriptors of the trees C (diseases) and D (chemicals and drugs) with their entry terms, from the file
  that the National Library of Medicine gives out (its terms ask for its name and the year of the file).
"""

import argparse
import csv
import json
import os
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).parents[1] / "src" / "clinfit" / "evaluation" / "metrics" / "text"

#: Stems of the WHO's INN list that few other words end in, and names of groups that end alike.
DRUG_STEMS = tuple(
    """adol afil alol amivir anserin arabine arol artan astine azepam azepine azine azolam azole azoline azosin
    azoxin bamate barbital barbitone bactam caine cef cillin citabine clovir conazole coxib curium curonium
    cycline dipine dralazine dronate ebine entan ergoline estrant fenacin fibrate floxacin flurane formin
    gatran gestrel gliptin gliflozin glinide glitazone glutide grel imus kinra laxin lukast lutamide mab
    mustine mycin nacin nidazole nib olol olone olimus onide oxetine parib parin parinux pamil peridol
    phylline platin plase poetin pramine prazole previr pril prilat profen prost quine racetam relix ridone
    rubicin sartan semide setron sone solone spirone statin stigmine sulfan taxel tecan teplase terol
    thiazide tiapine tidine tilide tinib toin trexate trexed triptan triptyline tropium vaptan vastatin
    verine vir vudine xaban xetine zepam zolamide zolid zomib zosin""".split()
)
#: Words with such an ending that are no drugs.
NOT_DRUGS = frozenset(
    """sterol cholesterol ergosterol mustine placeboxetine nonergoline acetonide aminoimidazole allantoin
    hydroxycholoquine atricurium somatostatin angiostatin endostatin cystatin""".split()
)
COMMON_DRUGS = (
    "aspirin|acetylsalicylic acid|asa;paracetamol|acetaminophen|tylenol;ibuprofen|advil|motrin;naproxen|aleve;morphine;"
    "codeine;oxycodone|oxycontin;hydrocodone;fentanyl;tramadol;methadone;buprenorphine;naloxone|narcan;heparin;"
    "warfarin|coumadin;insulin;metformin|glucophage;digoxin;furosemide|lasix;spironolactone|aldactone;amiodarone;"
    "lisinopril;losartan|cozaar;amlodipine|norvasc;metoprolol|lopressor|toprol;atenolol|tenormin;carvedilol|coreg;"
    "diltiazem|cardizem;verapamil;nitroglycerin|glyceryl trinitrate;clopidogrel|plavix;atorvastatin|lipitor;"
    "simvastatin|zocor;hydrochlorothiazide|hctz;levothyroxine|synthroid;prednisone;prednisolone;methylprednisolone|"
    "medrol|solu-medrol;dexamethasone|decadron;hydrocortisone;albuterol|salbutamol|ventolin|proventil;"
    "fluticasone|flonase|flovent;montelukast|singulair;cetirizine|zyrtec;loratadine|claritin;diphenhydramine|benadryl;"
    "omeprazole|prilosec;pantoprazole|protonix;ranitidine|zantac;famotidine|pepcid;ondansetron|zofran;"
    "metoclopramide|reglan;loperamide|imodium;amoxicillin;augmentin|amoxicillin clavulanate;penicillin;"
    "azithromycin|zithromax;ciprofloxacin|cipro;levofloxacin|levaquin;vancomycin;gentamicin;doxycycline;"
    "trimethoprim;bactrim|co-trimoxazole|cotrimoxazole;cephalexin|keflex;ceftriaxone|rocephin;clindamycin;"
    "acyclovir|aciclovir;fluconazole|diflucan;isoniazid;rifampicin|rifampin;ethambutol;pyrazinamide;quinine;"
    "artesunate;lithium;haloperidol|haldol;risperidone|risperdal;olanzapine|zyprexa;quetiapine|seroquel;clozapine;"
    "fluoxetine|prozac;sertraline|zoloft;paroxetine|paxil;citalopram|celexa;escitalopram|lexapro;"
    "venlafaxine|effexor;bupropion|wellbutrin;amitriptyline|elavil;trazodone;alprazolam|xanax;lorazepam|ativan;"
    "diazepam|valium;clonazepam|klonopin;zolpidem|ambien;gabapentin|neurontin;pregabalin|lyrica;"
    "carbamazepine|tegretol;phenytoin|dilantin;valproate|valproic acid|depakote;levetiracetam|keppra;"
    "lamotrigine|lamictal;topiramate|topamax;levodopa;carbidopa;donepezil|aricept;memantine|namenda;methotrexate;"
    "azathioprine;cyclosporine|ciclosporin;tacrolimus;mycophenolate|cellcept;hydroxychloroquine|plaquenil;"
    "sulfasalazine;allopurinol;colchicine;cisplatin;carboplatin;paclitaxel|taxol;docetaxel;doxorubicin|adriamycin;"
    "cyclophosphamide;fluorouracil|5-fu;capecitabine;gemcitabine;vincristine;bleomycin;tamoxifen;letrozole;"
    "bevacizumab|avastin;rituximab|rituxan;trastuzumab|herceptin;imatinib|gleevec;interferon;estradiol;"
    "progesterone;testosterone;oxytocin;misoprostol;finasteride;tamsulosin|flomax;sildenafil|viagra;tadalafil|cialis;"
    "alendronate|fosamax;calcitriol;folic acid|folate;ferrous sulfate;potassium chloride;magnesium sulfate;"
    "epinephrine|adrenaline;norepinephrine|noradrenaline;dopamine;dobutamine;atropine;propofol;ketamine;midazolam;"
    "lidocaine|lignocaine;bupivacaine;ropivacaine;glipizide;glyburide|glibenclamide;glimepiride;pioglitazone;"
    "meloxicam|mobic;celecoxib|celebrex;diclofenac;ketorolac|toradol;cyclobenzaprine|flexeril;baclofen;"
    "vicodin;percocet;lortab;darvocet;tessalon;robitussin;advair;spiriva;nexium;lovenox|enoxaparin;zosyn;levemir;lantus"
)  # fmt: skip
#: What clinical notes call problems, and consumer sites seldom have a page on; written for this project.
COMMON_PROBLEMS = (
    "pain;chest pain;abdominal pain|stomach pain|belly pain;back pain;low back pain|lower back pain;headache|headaches;"
    "fever|fevers;chills;nausea;vomiting;diarrhea|diarrhoea;constipation;cough;shortness of breath|dyspnea|dyspnoea;"
    "fatigue|tiredness;weakness;dizziness|lightheadedness;syncope|fainting;palpitations;rash;itching|pruritus;"
    "swelling|edema|oedema;bleeding|hemorrhage|haemorrhage;hematuria|blood in urine;dysuria;numbness;tingling;"
    "weight loss;weight gain;night sweats;loss of appetite|anorexia;insomnia;anxiety;depression;"
    "hypertension|high blood pressure|htn;hypotension|low blood pressure;diabetes|diabetes mellitus|dm;"
    "hyperlipidemia|high cholesterol|hypercholesterolemia;heart attack|myocardial infarction|mi;"
    "heart failure|congestive heart failure|chf;atrial fibrillation|afib|a-fib;coronary artery disease|cad;"
    "stroke|cva|cerebrovascular accident;transient ischemic attack|tia;seizure|seizures|convulsions;asthma;"
    "copd|chronic obstructive pulmonary disease|emphysema;pneumonia;bronchitis;"
    "tuberculosis|tb;pulmonary embolism;deep vein thrombosis|dvt;gerd|acid reflux|gastroesophageal reflux disease|"
    "heartburn;ulcer|ulcers;hepatitis;cirrhosis;jaundice;kidney failure|renal failure;"
    "urinary tract infection|uti;kidney stones|kidney stone;anemia|anaemia;cancer;tumor|tumour;"
    "breast cancer;lung cancer;colon cancer;prostate cancer;leukemia|leukaemia;lymphoma;arthritis;osteoarthritis;"
    "osteoporosis;fracture|fractures|broken bone;sprain;infection|infections;sepsis;allergy|allergies;"
    "sore throat;runny nose|rhinorrhea;congestion;sinusitis;ear infection|otitis media;hearing loss;tinnitus;"
    "blurred vision;glaucoma;cataract|cataracts;migraine|migraines;hypothyroidism;hyperthyroidism;obesity;"
    "gout;psoriasis;eczema;cellulitis;hernia;gallstones|cholelithiasis;appendicitis;pancreatitis;dehydration;"
    "hypoglycemia|low blood sugar;hyperglycemia|high blood sugar;miscarriage;preeclampsia;sleep apnea;dementia;"
    "schizophrenia;bipolar disorder;hiv;sars;covid-19|covid;flu|influenza;murmur|heart murmur;wheezing;rales;"
    "mass;lesion;murmurs;clubbing;cyanosis;lymphadenopathy;injury;trauma;concussion;scoliosis;neuropathy"
)
PROBLEM_ENDINGS = re.compile(
    r"(?:itis|oma|omas|emia|aemia|osis|oses|pathy|pathies|algia|rrhea|rrhage|plegia|penia|uria|sclerosis|trophy|"
    r"neoplasms?|diseases?|syndromes?|disorders?|injuries|infections?|fractures?|failure|insufficiency|hypertension|"
    r"diabetes mellitus(?:, type [12])?|stroke|carcinoma|cancer|pain|obstruction|stenosis|thrombosis|embolism|ulcer|"
    r"hemorrhage|fistula|hernia|abnormalities)$",
    re.IGNORECASE,
)
#: Names that are ordinary words of a text on any disease, too wide to count, or no problem.
TOO_COMMON = frozenset(
    """all|als|can|aim|cat|spot|spots|cold|health|disease|diseases|disorder|syndrome|injuries|aging|men|women|pregnancy|
    stress|exercise|diet|drinking|smoking|vaccines|surgery|sleep|growth|period|menstrual period|gas|memory|anesthesia|
    creatinine|serum creatinine|electrocardiogram|battery|family history|side effects|after surgery|managed care|
    birth control|knee arthroplasty|knee replacement|delayed diagnosis|chronic disease|childbirth|sweat|falls|hypnosis|
    preterm birth|blood disorders|genetic disorders|infectious diseases|heart diseases|cardiovascular diseases|
    autoimmune diseases|solitary kidney|hip replacement|labor|baby|family""".replace("\n    ", "").split("|")
)
#: Longer names hardly occur in running text.
MAX_WORDS = 4

CARD = """\
# The lexicon of problems and drugs

Made by `scripts/make_lexicon.py`, which names the rules. A line of `lexicon.txt` is one entity: `problem` or `drug`, a
tab, and its names, parted by `|`. Names have at most {words} words; abbreviations of four letters and fewer are left
out, since most stand for several things.

| source | licence | problems | drugs | names |
|---|---|---|---|---|
{rows}

{entities} entities, {names} names. A name counts for the first source that has it.

MedQuAD: Ben Abacha and Demner-Fushman, A question-entailment approach to question answering, BMC Bioinformatics 2019;
the foci of its documents and their synonyms, lower-cased and filtered, under CC BY 4.0. From the others only single
words or headings are taken. No text of any set is in it.

What it is not: complete. It has the disorders that American consumer sites write about, rare ones among them, and drugs
by their generic names with some common brands. Laboratory tests, procedures and anatomy are not in it. A name that it
does not hold counts neither for nor against a text, so look at how many items have a value at all.
"""
#: Source -> its licence, in the order of the card.
LICENCES = {
    "written for this project": "MIT",
    "MeSH": "National Library of Medicine, free with its name",
    "MedQuAD": "CC BY 4.0",
    "PubMedQA": "MIT",
    "Evidence Inference": "MIT",
    "MedMCQA": "MIT",
}


def medquad(archive: Path) -> Iterator[list[str]]:
    """The focus of each document on a disorder with its synonyms."""
    with tarfile.open(archive) as files:
        for member in files:
            if member.name.endswith(".xml") and (content := files.extractfile(member)) is not None:
                document = ElementTree.fromstring(content.read())
                if document.findtext(".//SemanticGroup") == "Disorders":
                    names = [document.findtext("Focus"), *(each.text for each in document.iter("Synonym"))]
                    yield [name for name in names if name]


def pubmedqa_headings(path: Path) -> set[str]:
    items = json.loads(path.read_text(encoding="utf-8"))
    return {heading for item in items.values() for heading in item["MESHES"]}


def mesh(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Kind and names of each descriptor of MeSH's trees C and D."""
    for _, record in ElementTree.iterparse(path):
        if record.tag == "DescriptorRecord":
            trees = {number.text[0] for number in record.iter("TreeNumber") if number.text}
            names = [name for term in record.iter("Term") if (name := term.findtext("String"))]
            for kind, tree in (("problem", "C"), ("drug", "D")):
                if tree in trees:
                    yield kind, names
                    break
            record.clear()


def drug_words(texts: Iterable[str]) -> set[str]:
    """The words that end like a drug."""
    words = {word for text in texts for word in re.findall(r"(?<![\w-])[a-z]{6,}(?![\w-])", text.casefold())}
    return {word for word in words if word.endswith(DRUG_STEMS) and word not in NOT_DRUGS}


def cleaned(name: str) -> str | None:
    """The name as texts write it: MeSH's inversion turned round, brackets left out; None where it is no use."""
    name = re.sub(r"\s*[(\[][^)\]]*[)\]]", "", " ".join(name.split()))
    if "," in name and name.count(",") == 1 and re.search(r"(?:Neoplasms|Syndrome|Disease|Failure|Injuries), ", name):
        head, _, tail = name.partition(", ")
        name = f"{tail} {head}"
    words = name.split()
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 '’/-]*", name)
    if plain is None or not 1 <= len(words) <= MAX_WORDS or name.casefold() in TOO_COMMON or len(name) < 3:
        return None
    if name.isupper() and len(name) <= 4 and name.casefold() not in {"copd", "gerd", "htn"}:
        return None  # too many of them are words, or stand for several things
    return name.casefold().replace("’", "'")


def merged(entities: Iterable[tuple[str, list[str], str]]) -> dict[tuple[str, tuple[str, ...]], str]:
    """(kind, names) -> source. A name belongs to the first entity that has it; an entity without names is gone."""
    owner: set[str] = set()
    found: dict[tuple[str, tuple[str, ...]], str] = {}
    for kind, names, source in entities:
        usable = dict.fromkeys(name for each in names if (name := cleaned(each)) is not None and name not in owner)
        if usable:
            owner |= usable.keys()
            found[kind, tuple(usable)] = source
    return found


def gathered(data: Path, mesh_file: Path | None) -> Iterator[tuple[str, list[str], str]]:
    for kind, common in (("problem", COMMON_PROBLEMS), ("drug", COMMON_DRUGS)):
        yield from ((kind, names.split("|"), "written for this project") for names in common.split(";"))
    if mesh_file is not None:
        yield from ((kind, names, "MeSH") for kind, names in mesh(mesh_file))
    foci = sorted(medquad(data / "medquad" / "medquad_with_answers.tar.gz"))
    yield from (("problem", names, "MedQuAD") for names in foci)
    headings = sorted(pubmedqa_headings(data / "pubmedqa" / "ori_pqal.json"))
    yield from (("problem", [name], "PubMedQA") for name in headings if PROBLEM_ENDINGS.search(cleaned(name) or ""))
    yield from (("drug", [name], "PubMedQA") for name in sorted(drug_words(headings)))
    with (data / "evidence_inference_ccby" / "prompts_merged.csv").open(encoding="utf-8", newline="") as file:
        trials = [f"{row['Intervention']} {row['Comparator']}" for row in csv.DictReader(file)]
    yield from (("drug", [name], "Evidence Inference") for name in sorted(drug_words(trials)))
    with (data / "medmcqa" / "dev.json").open(encoding="utf-8") as file:
        questions = [json.loads(line) for line in file]
    options = [
        item[name]
        for item in questions
        if item["subject_name"] in {"Pharmacology", "Anaesthesia"}
        for name in ("opa", "opb", "opc", "opd")
    ]
    yield from (("drug", [name], "MedMCQA") for name in sorted(drug_words(options)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the lexicon of problems and drugs and its card.")
    parser.add_argument("--mesh", type=Path, help="desc<year>.xml of the National Library of Medicine")
    mesh_file: Path | None = parser.parse_args().mesh
    entities = merged(gathered(Path(os.environ["CLINFIT_DATA"]), mesh_file))
    lines = sorted(f"{kind}\t{'|'.join(names)}" for kind, names in entities)
    (FOLDER / "lexicon.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for (kind, names), source in entities.items():
        counts[source][kind == "drug"] += 1
        counts[source][2] += len(names)
    rows = [
        f"| {source} | {licence} | {counts[source][0]:,} | {counts[source][1]:,} | {counts[source][2]:,} |"
        for source, licence in LICENCES.items()
        if source in counts
    ]
    card = CARD.format(
        words=MAX_WORDS,
        rows="\n".join(rows),
        entities=f"{len(lines):,}",
        names=f"{sum(len(names) for _, names in entities):,}",
    )
    (FOLDER / "LEXICON.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
