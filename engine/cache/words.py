"""English words that a question can do without, and those that carry what must not differ (closed lists)."""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


CONTRACTIONS = {
    **{f"{word}n't": f"{word} not" for word in ("do", "does", "did", "is", "are", "was", "were", "has", "have", "had")},
    **{f"{word}n't": f"{word} not" for word in ("would", "could", "should", "must", "might", "need")},
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "shan't": "shall not",
    **{f"{word}'s": f"{word} is" for word in ("what", "who", "where", "when", "how", "why", "it", "that", "there")},
    **{f"{word}'re": f"{word} are" for word in ("what", "who", "where", "you", "we", "they")},
    **{f"{word}'d": f"{word} would" for word in ("i", "you", "we", "they", "how")},
    **{f"{word}'ll": f"{word} will" for word in ("i", "you", "we", "they", "it")},
    **{f"{word}'ve": f"{word} have" for word in ("i", "you", "we", "they")},
    "i'm": "i am",
    "let's": "let us",
    "whats": "what is",
    "dont": "do not",
    "doesnt": "does not",
    "didnt": "did not",
    "isnt": "is not",
    "cant": "can not",
}

GREETING = re.compile(
    r"^(?:(?:hi|hello|hey|ok|okay|so|well|thanks|good (?:morning|day|evening))(?: there)?[,!.] *)+", re.I
)
FAREWELL = re.compile(r"[,.!?;] *(?:please|thanks|thank you(?: (?:very|so) much)?)[ .!?]*$", re.I)
_ASKED = (
    "tell explain give show write translate convert list help summarize describe find make create compare calculate"
    " compute define name suggest recommend provide generate draft compose"
).replace(" ", "|")
OPENINGS = tuple(
    re.compile(f"(?:{opening})(?: |$)")
    for opening in (
        "please|kindly",
        f"(?:can|could|would|will) you(?: please| kindly)?(?= (?:{_ASKED}) )",
        "i (?:would like|would love|want|need|wish) to (?:know|understand|learn|find out)",
        "i (?:would like|want|need) you to|help me(?: to)?|go ahead and",
        "do you (?:happen to )?know|(?:please )?(?:tell|give|show) me(?! about)|let me know|remind me",
        "i (?:wonder|was wondering|am wondering|am curious)|any idea",
        "explain(?: to me)?(?= (?:how|why|what|when|where|who) )",
    )
)
HOW = re.compile(
    r"^(?:how (?:do|can|could|would) (?:i|we|you|one)|how to|how does one|how is it possible to|how i (?:can|could|do)"
    r"|how one (?:can|does)|what (?:is|are) (?:the|a) ways? to|i (?:want|need) to know how to)(?: go about)? "
)
MEANS = re.compile(r"^what (?:does |do )?(.+) means?$")
WHAT = re.compile(r"^(?:what|which)(?: is| are) ")
WHAT_LAST = re.compile(r"^what (.+) (?:is|are)$")
WRITE_ME = re.compile(r"^(write|draft|compose|make|create|find|send|bring) me ")
A_TIME = re.compile(r" per (?=(?:second|minute|hour|day|week|month|year)\b)")
WH_LAST = re.compile(r"^(who|where|when|why|how) (.+) (is|are|was|were)$")
BEING = re.compile(r"^(?:is|are|am) ")
DOING = re.compile(r"^(?:do|does) ")
OF_WORDS = _set(
    """mean means meaning say spell spelled pronounce define definition word words translate synonym synonyms antonym
    antonyms plural singular rhyme rhymes noun verb adjective adverb prefix suffix article"""
)
"""Where a question is about words, every word counts and stands for itself."""
LETTERED = _set("vitamin hepatitis influenza type group class grade plan option answer team section part size")
"""After these an `a` is a letter."""

DROPPED = _set("the a an is are am do does please just simply actually basically exactly kindly really there currently")

NEGATIONS = _set(
    """not no never none nothing nobody nowhere neither nor without except unless lack lacks lacking avoid
    excluding exclude excludes isn wasn aint non"""
)
QUANTITIES = _set(
    """all any some every each both either most more less least few fewer many much several only half double twice
    once triple enough too almost nearly about around exactly over under up down first last next previous second
    another other same different best worst better worse top bottom highest lowest higher lower biggest smallest
    largest longest shortest fastest slowest cheapest minimum maximum max min average median mean total always
    sometimes often rarely usually now still already yet again ever"""
)
RELATIONS = _set(
    """in on at to from into onto of off out by for with within than as between among against before after during
    since until till above below behind beside through across toward towards versus vs via per like if when
    while because but and or xor then else so that which who whom whose what where why how i me my mine you your
    yours he him his she her hers it its we us our ours they them their theirs this that these those here was
    were been being be did done had has have having will would shall should can could may might must whether
    about left right north south east west inside outside upper import export input output male female man woman
    men women boy girl boys girls mother father brother sister son daughter husband wife uncle aunt king queen
    parent parents grandparents gender"""
)
PASTS = _set(
    """sold bought drove wrote stood fell came drew wore held fought broke grew felt caught began begun taught
    brought sought thought found gave took went knew ate drank ran spoke won lost met paid sent spent told said
    saw seen driven written fallen broken grown worn drawn given taken gone known eaten drunk spoken made built
    kept left led read sat slept swam threw thrown understood woke rose risen rode ridden hid hidden flew flown
    forgot forgotten chose chosen became become bit bitten blew blown dealt dug fed fled froze frozen hung heard
    knelt laid lent lit meant rang sang sank shook shot shone showed shown shut slid stole stolen struck stuck
    sworn swore tore torn wept wound"""
)
"""Of verbs whose past is no -ed: another form of a verb is another time."""
PLURALS = _set("children people men women feet teeth mice geese")
DATES = _set(
    """january february march april may june july august september october november december jan feb mar apr jun
    jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday today tomorrow
    yesterday tonight morning noon afternoon evening night midnight weekday weekend week month year decade
    century quarter spring summer autumn fall winter bc bce ad ce am pm daily weekly monthly yearly annual
    annually hourly hour minute second hours minutes seconds days weeks months years decades centuries day
    christmas easter"""
)
_UNITS = """km kilometer kilometers kilometre kilometres|m meter meters metre metres|cm centimeter centimeters
centimetre centimetres|mm millimeter millimeters millimetre millimetres|mi mile miles|ft foot feet|inch
inches|yd yard yards|kg kilogram kilograms kilo kilos|g gram grams gramme grammes|mg milligram
milligrams|lb lbs pound pounds|oz ounce ounces|ton tons|tonne tonnes|l liter liters litre litres|ml
milliliter milliliters millilitre millilitres|gal gallon gallons|cup cups|tbsp tablespoon tablespoons|tsp
teaspoon teaspoons|pint pints|quart quarts|% percent percentage|celsius centigrade|fahrenheit|kelvin|kb
kilobyte kilobytes|mb megabyte megabytes|gb gigabyte gigabytes|tb terabyte terabytes|bit bits|byte
bytes|hz hertz|khz kilohertz|mhz megahertz|ghz gigahertz|w watt watts|kw kilowatt kilowatts|kwh|v volt
volts|amp amps ampere amperes|usd dollar dollars $|eur euro euros €|gbp sterling £|yen jpy ¥|mph|kph|knot
knots|acre acres|hectare hectares|degree degrees °|radian radians|mol mole moles|joule joules|cal calorie
calories|kcal|newton newtons|pascal pascals|bar bars|psi|ms millisecond milliseconds"""
_EXACT = """KB kb|MB mb|GB gb|TB tb|Hz hz|kHz khz|MHz mhz|GHz ghz|W w|kW kw|V v|kWh kwh|USD usd|EUR eur|GBP gbp
JPY yen|L l|mL ml""".replace("\n", "|")
UNITS = {form: forms.split()[0] for forms in _UNITS.replace("\n", " ").split("|") for form in forms.split()}
UNITS |= dict(pair.split() for pair in _EXACT.split("|"))
"""Each way to write a unit, and one for it. Case counts: what is not here in its case stays as it was written."""

_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {
    **{word: str(value) for value, word in enumerate(f"{_SMALL} seventeen eighteen nineteen".split())},
    **{word: str(value * 10) for value, word in enumerate(_TENS.split(), start=2)},
    **{"hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000", "dozen": "12"},
    **{"third": "3rd", "fourth": "4th", "fifth": "5th", "sixth": "6th", "seventh": "7th", "eighth": "8th"},
    **{"ninth": "9th", "tenth": "10th", "twentieth": "20th"},
}

SPELLINGS = {
    **{"into": "to", "onto": "on", "upon": "on"},
    **{f"{stem}our": f"{stem}or" for stem in ("col", "fav", "hum", "lab", "neighb", "behavi", "flav", "hon", "harb")},
    **{f"{stem}ours": f"{stem}ors" for stem in ("col", "fav", "lab", "neighb", "behavi", "flav")},
    **{
        f"{stem}ise": f"{stem}ize"
        for stem in ("organ", "optim", "summar", "minim", "maxim", "normal", "real", "recogn")
    },
    **{
        "center": "centre",
        "theater": "theatre",
        "gray": "grey",
        "tyre": "tire",
        "e-mail": "email",
        "analyse": "analyze",
    },
    **{"favourite": "favorite", "programme": "program", "catalogue": "catalog", "aluminium": "aluminum"},
    **{"web site": "website", "adviser": "advisor", "defence": "defense", "licence": "license", "cheque": "check"},
}

TWO_FACED = _set("us it who am pm in or and can will may so no he me be at aids led ram rom art sat act")
"""Words that are another thing in capitals: there their case counts."""

LANGUAGES = {
    "en": _set("the what is are how does do of and to who when where why which my your can i for with"),
    "de": _set("der die das und ist wie wer wann warum welche ich nicht ein eine den dem für mit auf von"),
    "fr": _set("le la les est et que qui quoi quel quelle comment pourquoi je une un des du dans pour"),
    "es": _set("el los las es y qué que cómo cuál quién por para una un del cuándo dónde mi"),
    "it": _set("il lo gli è e che chi come quale perché una un della di per quando dove mio"),
    "pt": _set("o os as é e que quem como qual por para uma um do da quando onde meu"),
    "nl": _set("de het een en is wat wie hoe waarom welke ik niet van voor met waar wanneer"),
}
