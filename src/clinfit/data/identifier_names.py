"""Rules for names of people: words behind a title or a label, in capitals too, and words with a known given name.

In capitals a title and a term look alike: MR SMITH and MR ANGIOGRAPHY, MS JONES and MS CONTIN. So what stands behind
MR, MS and DR is a name only if it is no word of a list of terms and of words that go on with a sentence. Which words of
a run of capitals belong to a name is clear where the sentence around them is not in capitals; otherwise only the first
is taken, and a second one behind a given name.
"""

import re
import unicodedata
from itertools import groupby

from clinfit.data.identifier_numbers import Rule, Span, before

GIVEN_NAMES = frozenset(
    """aaron abigail adam adrian agnes ahmed aisha alan albert alejandro alex alexander alexandra alexis ali alice
    alicia allison amanda amber amy ana andrea andrew angel angela anita ann anna anne annie anthony antonio
    arthur ashley barbara beatrice becky ben benjamin bernard beth betty beverly bob bobby bonnie bradley
    brandon brenda brian brittany bruce bryan caleb cameron carl carla carlos carmen carol caroline carolyn
    catherine cecilia charles charlotte cheryl chris christina christine christopher cindy claire clara connie
    craig crystal cynthia daisy dale dan daniel danielle david deborah debra denise dennis derek diana diane
    dmitri donald donna doris dorothy douglas dylan edith edna edward edwin eileen elaine eleanor elena
    elizabeth ella ellen emily emma eric erica erin ernest esther ethan eugene eva evan evelyn fatima felix
    fernando florence frances francis francisco frank fred gabriel gail gary george gerald giovanni gladys glenn
    gloria gordon greg gregory hannah harold harry hassan heather hector helen henry herbert howard ian ibrahim
    ingrid irene isaac isabella ivan jacob jacqueline jake james jamie jane janet janice jason javier jean
    jeffrey jennifer jeremy jerry jesse jessica jesus jill jim jimmy joan joanna joe joel johann john johnny
    jonathan jordan jorge jose joseph joshua joyce juan juanita judith judy julia julian julie justin karen karl
    katherine kathleen kathryn kathy katie keith kelly kenneth kevin kim kimberly kumar kyle larry laura lauren
    lawrence leo leon leonard leroy leslie lewis liam lillian linda lisa lloyd lois lori louis louise lucas
    lucia lucy luis lydia lynn mackenzie madison malik manuel marcus margaret maria marie marilyn mario marion
    marjorie marlene marsha marshall martha martin marvin mary mason matthew maureen megan mei melanie melissa
    melvin michael michelle miguel mike mildred mohamed mohammed monica muhammad nancy naomi natalie nathan
    nathaniel nicholas nicole nina noah nora norma norman olga oliver olivia omar oscar pamela patricia patrick
    paul paula pauline pedro peggy peter philip phillip phyllis priya rachel rafael ralph ramon raymond rebecca
    regina rene ricardo richard rita robert roberta roberto robin rodney roger roland ronald rosa rosemary roy
    ruby russell ruth ryan sally sam samantha samuel sandra sara sarah scott sean sergio shannon sharon shawn
    sheila sherry shirley sofia sophia stacy stanley stella stephanie stephen steve steven susan suzanne sylvia
    tamara tammy tara taylor teresa terry thelma theodore theresa thomas tiffany tim timothy tina todd tom tommy
    tony tracy travis tyler valerie vanessa vera vernon veronica vicki victor victoria vincent violet virginia
    vivian walter wanda warren wayne wei wendy wesley william willie yolanda yusuf yvonne zachary zoe""".split()
)
#: Words that follow a title or a word for a name, and are none; in whatever case.
_NO_NAMES = frozenset(
    """the this that he she it they we you i his her and but or no yes not in on at is was has had have will who what
    when where any all are as if so to of for with from by do does did can could would my your our there here okay ok
    well oh um uh hi hello thank thanks good please sure right left denies reports presents patient doctor nurse guest
    history yeah just then also how let like maybe now after before about some since because white black hispanic asian
    african american caucasian emergency medicine general internal hospital clinic department name
    date age center memorial dr mr mrs ms tell bye god""".split()
)
#: Of these, surnames of many, and so names behind a title or a given name: Dr. Black, Jane White.
_SURNAMES_TOO = frozenset({"white", "black"})
#: In capitals behind a title ward is a surname as well.
_CAPITAL_SURNAMES = _SURNAMES_TOO | {"ward"}
#: Words that are no name in capitals, and none behind MR, MS and DR: what magnetic resonance, mitral regurgitation,
#: multiple sclerosis, morphine, diabetic retinopathy and radiography are followed by; words that go on with a sentence;
#: short forms.
_NO_CAPITALS = frozenset(
    """image images scan scans scanner scanning imaging study studies sequence sequences series signal suite protocol
    contrast perfusion diffusion weighted guided guidance safe unsafe conditional compatible brain head neck chest spine
    abdomen abdominal pelvis pelvic breast cardiac liver knee hip shoulder lumbar cervical thoracic prostate orbit
    orbits exam exams examination findings finding report results unit machine flair stir dwi swi adc gre jet grade
    graded trace trivial mild moderate severe valve mitral aortic tricuspid regurgitation murmur noted stenosis contin
    continued multiple sclerosis patients relapse relapses relapsing remitting progressive flare flares lesion lesions
    plaque plaques exacerbation exacerbations diagnosis diagnosed treatment therapy drug drugs medication medications
    society specialist symptoms related disease activity onset type changes status intact normal abnormal sulfate
    sulphate morphine elixir tablet tablets score scores walking windows gene contour excel word retinopathy screening
    grading progression staging pepper system digital plain film films plate negative positive were be been am came
    comes went goes said says stated states reported denied present presented complains complained complaining admits
    admitted note notes call calls called saw sees seen examined recommend recommends recommended advise advises advised
    order orders ordered prescribe prescribed continue continues start started stop stopped give gave given refer
    referred review reviewed follow followed follows plan assessment impression physical today yesterday tomorrow
    tonight until without due secondary consistent evaluate evaluated tolerated underwent received remain remains
    remained appear appears appeared feel feels felt live lives lived work works worked take takes took need needs
    needed agree agrees agreed understand understands return returned returns spoke sleeps slept should may must might
    than nor into over under during per via while which whose whom stable alert oriented alone again never always still
    only very more less both each other another same new old first second third increased decreased improved worsened
    worse better able unable sitting lying resting gait speech motor sensory strength vision pain fever cough heart lung
    lungs blood lab labs md do rn np pa pac phd lpn crna dpm pharmd mri mra mrv mrcp ct cta pet ekg ecg eeg emg icu ccu
    nicu picu ed er or ot pt slp ent ob gyn obgyn gi gu iv im po bid tid qid prn hiv aids copd chf cad ckd esrd dm htn
    dvt pe mi cva tia uti bp hr rr ros hpi pmh psh fh sh dob mrn ssn sex gender male female room bed ward fax phone tel
    address id nkda adhd ptsd ocd gerd ibs mrsa stemi nstemi bmi wbc rbc hgb cbc bmp cmp lft lfts tsh usa uk sr xr
    cr""".split()
)
_TERM_ENDINGS = (
    "graphy",
    "graphic",
    "gram",
    "grams",
    "scopy",
    "scopic",
    "metry",
    "itis",
    "osis",
    "opathy",
    "tomy",
    "tion",
)


def _letters(upper: bool) -> str:
    """Latin letters of one case, with every accent, as part of a character class."""
    every = [*range(0x41, 0x250), *range(0x1E00, 0x1F00)]
    codes = [code for code in every if (chr(code).isupper() if upper else chr(code).islower())]
    runs = [[code for _, code in run] for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0])]
    return "".join(chr(run[0]) if len(run) == 1 else f"{chr(run[0])}-{chr(run[-1])}" for run in runs)


#: Accents that are characters of their own, as in texts from a Mac.
_ACCENTS = "\u0300-\u036f"
_UPPER = rf"[{_letters(True)}][{_ACCENTS}]?"
_MORE_UPPER = rf"[{_letters(True)}{_ACCENTS}]"
_LOWER = rf"[{_letters(False)}{_ACCENTS}]"
_END = rf"(?![\w{_ACCENTS}])"
_PARTICLE = (
    r"(?:(?:Van|von|van|de|der|den|la|le|el|al|bin|ibn|di|da|do|dos|del|du|ter|ten)[ \t]){0,2}"
    r"(?:(?:Mc|Mac|Fitz|O['’]|D['’]|De|Di|Du|La|Le|Van|von|van|de|la|al-|El)[ \t]?)?"
)
_MIXED = rf"{_PARTICLE}{_UPPER}{_LOWER}{{1,19}}(?:['’-]{_UPPER}{_LOWER}{{1,19}})?(?!{_LOWER})"
_CAPITALS = rf"(?:(?:O|D)['’]|Mc|Mac)?{_UPPER}{_MORE_UPPER}{{1,19}}(?:['’-]{_UPPER}{_MORE_UPPER}{{1,19}})?{_END}"
_SPACE = r"[ \t]{1,4}"
# one space at most: behind two, as in `seen by Dr. X.  Two weeks`, begins a sentence
_DOTTED = rf"(?:{_UPPER}\.(?:-{_UPPER}\.)?[ \t]?){{0,3}}"
_INITIALS = rf"(?:{_UPPER}(?:\.(?:-{_UPPER}\.)?[ \t]?|{_SPACE})){{0,3}}"
_MIDDLE = rf"(?:{_UPPER}(?:\.[ \t]?|{_SPACE})){{0,2}}"


def _none_of(words: frozenset[str]) -> str:
    """A pattern that none of the words may follow."""
    return rf"(?!(?:{'|'.join(sorted(word.capitalize() for word in words))}){_END})"


_NAME = rf"{_none_of(_NO_NAMES)}{_MIXED}(?:{_SPACE}{_MIDDLE}{_MIXED}){{0,2}}"
#: As some write a surname: John SMITH.
_TITLED_NAME = rf"{_none_of(_NO_NAMES - _SURNAMES_TOO)}{_MIXED}(?:{_SPACE}{_MIDDLE}(?:{_MIXED}|{_CAPITALS})){{0,2}}"
_RUN = rf"{_CAPITALS}(?:,?{_SPACE}{_MIDDLE}{_CAPITALS}){{0,2}}"

#: Behind a title: a space or a full stop. `Mr.Jones` has the one, `Mr Jones` the other.
_BEHIND_TITLE = rf"(?:\.[ \t]{{0,4}}|{_SPACE})"
_TITLE = rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Drs?|Prof|Professor|Rev|Sir|Madam){_BEHIND_TITLE}"
_SPEAKER = rf"\b(?:PATIENT|Patient|Pt|Physician|Surgeon|Provider)[ \t]{{0,4}}:[ \t]{{0,20}}(?={_MIXED} {_MIXED})"
_INTRODUCTION = (
    rf"\b(?:Doctor|Nurse|Sister)\b\.?{_SPACE}"
    rf"|\b(?:[Mm]y|[Hh]is|[Hh]er|[Tt]he patient['’]s|[Pp]atient['’]?s?) name is{_SPACE}"
    r"|\b(?:[Nn]amed|[Ss]igned|[Ss]igned by|[Ss]een by|[Dd]ictated by|[Rr]eferred by|[Aa]ttending|[Aa]ttn|"
    rf"[Cc]ontact|[Dd]ear|[Ii]nformant|[Ss]pouse|[Nn]ext of kin)\b:?{_SPACE}"
    rf"|\b(?:daughter|son|wife|husband|partner|mother|father|sister|brother|friend|aunt|uncle|cousin){_SPACE}"
    r"|\b(?:PHYSICIAN|SURGEON|Re|RE)[ \t]{0,4}:[ \t]{0,20}"
)
#: `Drug name:` and the like.
_OF_THINGS = re.compile(
    r"\b(?i:drug|medication|medicine|brand|generic|trade|product|test|procedure|study|trial|file|device|gene|protein"
    r"|common|scientific|species|hospital|clinic|facility|pharmacy|insurance|plan|school|company|template|form|user)"
    r"[ \t]{1,4}\Z"
)
#: A title that nothing else is written as: magnetic resonance is no Mr. and no MRS.
_CLEAR_TITLE = re.compile(r"(?:Mr|Mrs|MRS|Ms|Miss|Mx|Drs?|Prof|Professor|Rev|Sir|Madam)\b")
#: Mitral regurgitation, multiple sclerosis and diabetic retinopathy that end a sentence, and no title.
_HAVING = re.compile(
    r"\b(?i:severe|moderate|mild|trace|trivial|significant|progressive|remitting|proliferative|functional|ischemic|\d\+)"
    r"[ \t]{1,4}\Z"
)
_WORD = re.compile(rf"(?:[^\W\d_][{_ACCENTS}]{{0,2}})+")
#: A word that may be one of a known name.
TOKEN = re.compile(rf"(?<![\w{_ACCENTS}])(?:[^\W\d_][{_ACCENTS}]{{0,2}}){{3,40}}(?![\w{_ACCENTS}])")
_CAPITAL_WORD = re.compile(_CAPITALS)
_LAST_INITIAL = re.compile(rf"(?:[ \t,]{{1,4}}{_UPPER}\.?)?[ \t,]{{0,4}}\Z")
_INITIAL_BEHIND = re.compile(rf"[ \t]{_UPPER}\.(?!\w)")
_COLON = re.compile(r"[ \t]{0,4}:")
_LAST_WORD = re.compile(r"(\w+)[ \t,:]{1,4}\Z")
_NEXT_WORD = re.compile(r"[ \t,]{1,4}(\w{1,40})")
_REVERSED = rf"(?<!, )\b{_MIXED}, {_MIXED}(?:[ \t]{_UPPER}\.)?"
#: What follows a name that is a term or a place: Graves disease, Virginia score, King Edward Memorial Hospital.
_EPONYM = re.compile(
    r"(?:['’]s)?[ \t-](?:disease|syndrome|sign|test|score|scale|criteria|catheter|procedure|classification|maneuver|"
    r"manoeuvre|tube|tumou?r|lymphoma|reflex|fracture|palsy|esophagus|Hospital|Clinic|Store|University|County|Center|"
    r"Centre|Memorial|Medical|Health|School|College|Institute|Bay)\b"
    r"(?![ \t](?:Records?|History|Course|Problems?|Assistant|Aide|Nurse|Manager|manager|[Cc]are|Director|Student)\b)"
)
_ANY_NAME = re.compile(_NAME)


def plain(word: str) -> str:
    """A word without case and accents: José, JOSE and jose are one."""
    if not word.isascii():
        word = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    return word.casefold()


def words_of_name(text: str) -> set[str]:
    """The words of a name by which a person is found elsewhere in a record: three letters and more, no stop word."""
    return {word for word in _WORD.findall(text) if len(word) >= 3 and plain(word) not in _NO_NAMES}


def _is_eponym(text: str, start: int, end: int) -> bool:
    """Whether a term or a place is called so."""
    return any(_EPONYM.match(text, word.end()) for word in _WORD.finditer(text, start, end))


def is_given(word: str) -> bool:
    """Whether the word is a given name of the list."""
    return plain(word) in GIVEN_NAMES


def _is_term(word: str) -> bool:
    """Whether a word in capitals, or behind MR, is an ordinary one. Ingram is a surname, an angiogram none."""
    word = plain(word)
    ends_so = word.endswith(_TERM_ENDINGS) and not (word.endswith("gram") and len(word) < 7)
    return word in _NO_NAMES or word in _NO_CAPITALS or ends_so


def _to_last_word(text: str, start: int, end: int) -> Span:
    """The span without what follows the first word that is no name, be it an initial."""
    previous = ""
    for word in _WORD.finditer(text, start, end):
        if _ends_name(word[0], previous):
            return start, start + len(_LAST_INITIAL.sub("", text[start : word.start()]))
        previous = word[0]
    return start, end


def _ends_name(word: str, previous: str) -> bool:
    """Whether a word is none of the name. A short one in capitals is rather an abbreviation: Dr. Smith ENT."""
    if not word[0].isupper():
        return False
    if previous and len(word) > 1 and word.isupper() and (_is_term(word) or (len(word) < 4 and not is_given(previous))):
        return True
    is_surname = plain(word) in _SURNAMES_TOO and (not previous or is_given(previous))
    return plain(word) in _NO_NAMES and not is_surname


def _titled(match: re.Match[str]) -> Span:
    return _to_last_word(match.string, *match.span("it"))


def _labelled(match: re.Match[str]) -> Span | None:
    if _OF_THINGS.search(before(match)):
        return None
    start, end = _titled(match)
    if _COLON.match(match.string, end):  # the next label: Name: Jane Doe Sex: F
        end = start + len(re.sub(r"[ \t]*[^ \t]+\Z", "", match.string[start:end]))
    return start, end


def _labelled_capitals(match: re.Match[str]) -> Span | None:
    if _OF_THINGS.search(before(match)):
        return None
    return _of_run(match, 3 if _among_others(match) else 2)


def _among_others(match: re.Match[str]) -> bool:
    """Whether the sentence beside a run of capitals is written in small letters."""
    ahead = _LAST_WORD.search(before(match))
    behind = _NEXT_WORD.match(match.string, match.end("it"))
    return any(word is not None and word[1] != word[1].upper() for word in (ahead, behind))


def _of_run(match: re.Match[str], most: int, first: frozenset[str] = frozenset()) -> Span | None:
    """The name in a run of capitals: up to `most` words, none of them a term. first: words that the first may be."""
    start, end = match.start("it"), match.start("it")
    words = list(_CAPITAL_WORD.finditer(match.string, start, match.end("it")))
    for number, word in enumerate(words):
        is_none = _is_term(word[0]) and (number > 0 or plain(word[0]) not in first)
        if number >= most or is_none or _COLON.match(match.string, word.end()):
            break
        end = word.end()
    if end == start:
        return None
    initial = _INITIAL_BEHIND.match(match.string, end)
    return start, initial.end() if initial else end


def _in_capitals(match: re.Match[str]) -> Span | None:
    """Behind a title, a run of capitals."""
    is_title = _CLEAR_TITLE.match(match[0]) is not None
    if _HAVING.search(before(match)) and not is_title:
        return None
    surnames = _CAPITAL_SURNAMES | {"may", "new", "head", "day", "still"} if is_title else _CAPITAL_SURNAMES
    if _among_others(match):
        return _of_run(match, 3, surnames)
    first = _CAPITAL_WORD.search(match.string, match.start("it"))
    return _of_run(match, 2 if first is not None and is_given(first[0]) else 1, surnames)


def _behind_capitals(match: re.Match[str]) -> Span | None:
    """Behind a title in capitals, a name that is not."""
    first = _WORD.search(match["it"])
    if first is None or _is_term(first[0]) or _HAVING.search(before(match)):
        return None
    return _titled(match)


def _reversed_name(match: re.Match[str]) -> Span | None:
    if not any(map(is_given, _WORD.findall(match[0]))) or _is_eponym(match.string, *match.span()):
        return None
    return _to_last_word(match.string, *match.span())


def _given(match: re.Match[str]) -> Span | None:
    """From a given name on."""
    name = _ANY_NAME.match(match.string, match.start()) if is_given(match[0]) else None
    if name is None or _is_eponym(match.string, *name.span()):
        return None
    return _to_last_word(match.string, *name.span())


#: In the order in which they are looked for.
NAME_RULES: tuple[Rule, ...] = tuple(
    Rule("name", re.compile(pattern), span)
    for pattern, span in (
        (
            rf"\b(?i:name)[ \t]{{0,4}}:[ \t]{{0,20}}"
            rf"(?P<it>{_DOTTED}{_NAME}(?:,{_SPACE}{_MIXED})?(?:{_SPACE}{_UPPER}\.)?)",
            _labelled,
        ),
        (rf"\b(?i:name)[ \t]{{0,4}}:[ \t]{{0,20}}(?P<it>{_INITIALS}{_RUN})", _labelled_capitals),
        (rf"{_TITLE}(?P<it>{_INITIALS}{_TITLED_NAME})", _titled),
        (rf"(?:{_TITLE}|\b(?:MR|MRS|MS|DRS?){_BEHIND_TITLE})(?P<it>{_INITIALS}{_RUN})", _in_capitals),
        (rf"\b(?:MR|MRS|MS|DRS?){_BEHIND_TITLE}(?P<it>{_INITIALS}{_TITLED_NAME})", _behind_capitals),
        (rf"(?:{_INTRODUCTION})(?P<it>{_DOTTED}{_NAME})", _titled),
        (rf"(?:{_SPEAKER})(?P<it>{_NAME})", _titled),
        (_REVERSED, _reversed_name),
        (rf"(?<![\w{_ACCENTS}]){_UPPER}{_LOWER}{{1,24}}(?!{_LOWER})", _given),
    )
)
