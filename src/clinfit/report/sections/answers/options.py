"""Multiple choice: whether letters or texts of the options are scored, and whether a letter is preferred as such."""

from dataclasses import dataclass

from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import ClassResult, PositionsDict, ScoringDict, SystemResult
from clinfit.report.format import Cell, decimal, metric_cell, p_value, per_cent
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import NOTHING, Grid, by_rank, cell_of, counted_cell, is_simple, level_cell

#: Way of scoring -> its words.
SCORINGS = {
    "letters": "by the letter",
    "texts": "by the text",
    "texts-normalised": "by the text, for its length",
}


@dataclass(frozen=True)
class ScoringsView:
    """answer: the way from which everything else is computed, in words."""

    table: Grid
    answer: str


def scorings_view(subject: Subject) -> ScoringsView | None:
    """None where no system scores its options in several ways: only language models that write can."""
    task = subject.task
    found = [(system, section(system, "scorings")) for system in by_rank(task) if section(system, "scorings")]
    if task["withheld"] or not found:
        return None
    rows = [_scoring(system, scoring) for system, scorings in found for scoring in scorings]
    rows += _chance(task)
    answers = [scoring["scoring"] for _, scorings in found for scoring in scorings if scoring["answer"]]
    heads = ["System and way of scoring", "Accuracy", "Log loss", "Same answer"]
    grid = Grid("The same models, their options scored in several ways", heads, rows)
    return ScoringsView(grid, ", ".join(dict.fromkeys(SCORINGS[name] for name in answers)))


def _scoring(system: SystemResult, scoring: ScoringDict) -> tuple[str, list[Cell]]:
    name = f"{system['name']}, {SCORINGS[scoring['scoring']]}"
    alike = Cell("the task's way") if scoring["answer"] else metric_cell(scoring["agreement"], percent=True)
    return name, [metric_cell(scoring["accuracy"], percent=True), metric_cell(scoring["log_loss"]), alike]


def _chance(task: TaskResult) -> list[tuple[str, list[Cell]]]:
    chance = section(task, "chance")
    if chance is None:
        return []
    cells = [level_cell(chance.get(name), percent=definition(name).percent) for name in ("accuracy", "log_loss")]
    return [("an even guess (chance level)", [*cells, NOTHING])]


# ---------------------------------------------------------------- preference for letters


@dataclass(frozen=True)
class Preference:
    sentence: str
    table: Grid


@dataclass(frozen=True)
class PositionsView:
    """first: the best trained language model, else the best trained system."""

    first: Preference
    others: list[Preference]


def positions_view(subject: Subject) -> PositionsView | None:
    task = subject.task
    systems = [system for system in by_rank(task) if section(system, "positions") and section(system, "classes")]
    if task["withheld"] or not systems:
        return None
    trained = [system for system in systems if system["trained"]] or systems
    first = next((system for system in trained if not is_simple(system)), trained[0])
    shown = [preference(system, subject.confidence) for system in (first, *(s for s in systems if s is not first))]
    return PositionsView(shown[0], shown[1:])


def preference(system: SystemResult, confidence: float) -> Preference:
    """Each letter: how often it is right, how often it is answered, and how often it is found where it is right."""
    classes: list[ClassResult] = section(system, "classes")
    rows = [
        (
            entry["label"],
            [
                counted_cell(entry["support"], entry["prevalence"]),
                counted_cell(entry["predicted"], entry["predicted_proportion"]),
                cell_of(system, "recall", entry["label"]),
            ],
        )
        for entry in classes
    ]
    heads = ["Letter", "Right in", "Answered in", "Found where it is right"]
    sentence = preference_sentence(system["name"], classes, section(system, "positions"), confidence)
    return Preference(sentence, Grid(f"Letters of {system['name']}", heads, rows))


def preference_sentence(name: str, classes: list[ClassResult], positions: PositionsDict, confidence: float) -> str:
    """The letter that is answered too often by most, how far apart the shares are, and whether chance explains it."""
    distance, p = positions["distance"], positions["p"]
    if distance is None:
        return f"{name}: whether it prefers a letter cannot be said ({positions['reason']})."
    if distance == 0:
        return f"{name} answers every letter as often as it is right."
    excess = [(entry["predicted_proportion"] or 0) - (entry["prevalence"] or 0) for entry in classes]
    most = classes[excess.index(max(excess))]
    right, answered = per_cent(most["prevalence"] or 0), per_cent(most["predicted_proportion"] or 0)
    said = (
        f"{name} answers {most['label']} in {answered} of the records, where it is right in {right}. "
        f"{decimal(100 * distance, 1)} in 100 answers would have to be another letter for the shares to agree."
    )
    if p is None:
        return f"{said} Whether chance explains this cannot be tested ({positions['reason']})."
    shown = f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"
    verdict = (
        "more than chance would explain: it prefers some letters, whatever they say"
        if p < 1 - confidence
        else "no more than chance would explain"
    )
    return f"{said} That is {verdict} (test of Stuart and Maxwell, {shown})."
