"""A question read (pure): its payloads, and its words in an order and a form that wording does not change."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from engine.cache.words import (
    A_TIME,
    BEING,
    CONTRACTIONS,
    DATES,
    DOING,
    DROPPED,
    FAREWELL,
    GREETING,
    HOW,
    LANGUAGES,
    LETTERED,
    MEANS,
    NEGATIONS,
    NUMBERS,
    OF_WORDS,
    OPENINGS,
    PASTS,
    QUANTITIES,
    RELATIONS,
    SPELLINGS,
    TWO_FACED,
    UNITS,
    WH_LAST,
    WHAT,
    WHAT_LAST,
    WRITE_ME,
)

_PAYLOAD = re.compile(
    r"```.*?```|`[^`]+`|\"[^\"]+\"|“[^”]+”|„[^“”]+[“”]|«[^»]+»|(?<!\w)'[^'\n]+'(?!\w)|(?<!\w)‘[^’\n]+’(?!\w)"
    r"|\b[a-z][a-z0-9+.-]*://\S+|\b[\w.+-]+@[\w-]+\.[\w.]+|(?<!\S)[/~][\w./-]+"
    r"|(?<=:)\s.*|\n.*|[{\[<].*[}\]>]",
    re.DOTALL | re.IGNORECASE,
)
"""Quoted, code, links, addresses, paths, and whatever follows a colon or a line's end: taken to the letter."""
_TOKEN = re.compile(
    r"[-−]?\d+(?:[.,:/]\d+)*(?:st|nd|rd|th)?\b|\d[^\W_]*|[^\W\d_]\.(?:[^\W\d_]\.)+|(?:(?<!\S)\.)?[^\W_]+(?:['’._-][^\W_]+)*[+#]*|[^\w\s]|_"
)
_SILENT = frozenset(",;.?!:()\"'…–—’‘“”„«»¿¡")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_GAP = "¤"
_MOVED = re.compile(r"^((?:in|for|on|with|using|at|during|from|by) [^,]{1,60}), (.+)$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Reading:
    """`words` stand in order; `fixed` says of each whether only the same word is the same; `names` are those
    that no other word can stand for."""

    payloads: tuple[str, ...]
    words: tuple[str, ...]
    names: frozenset[str]
    language: str

    @property
    def mark(self) -> int:
        """A signed number of 64 bits, equal for all questions that can agree with this one."""
        shape = [word if is_fixed(word) else "" for word in self.words]
        digest = hashlib.sha256(repr((self.payloads, shape)).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


def read(text: str) -> Reading:
    """The question in `text`, read as English where it is; in other languages every word counts as it stands."""
    text = unicodedata.normalize("NFC", text).strip()
    text = FAREWELL.sub("", GREETING.sub("", text))
    text = _MOVED.sub(lambda moved: f"{moved[2].rstrip('?!. ')} {moved[1][0].lower()}{moved[1][1:]}", text)
    payloads: list[str] = []

    def taken(found: re.Match[str]) -> str:
        payloads.append(found[0].strip().strip("\"'“”„«»‘’`"))
        return f" {_GAP} "

    tokens = _TOKEN.findall(_PAYLOAD.sub(taken, text))
    words = _words(tokens)
    names = words if not OF_WORDS.isdisjoint(words) else _names(tokens)
    return Reading(tuple(payloads), tuple(words), frozenset(names), _language(tokens))


def plain(words: str) -> str:
    """The words as they are embedded: case, spaces and end marks say nothing, but would be half of the distance."""
    return " ".join(words.casefold().split()).rstrip("?!. ")


def is_fixed(word: str) -> bool:
    """Whether the word carries something that must be the same: a number, unit, date, negation, relation, code."""
    return word in _FIXED or len(word) < 3 or not word.isalpha() or not word.islower()


_FIXED = NEGATIONS | QUANTITIES | RELATIONS | DATES | PASTS | frozenset(UNITS.values()) | {"HOW", "BE", "DO"}


def _words(tokens: list[str]) -> list[str]:
    shouted = sum(token.isupper() and len(token) > 1 for token in tokens) * 2 > len(tokens)
    numeric = any(token[-1].isdigit() for token in tokens)
    folded: list[str] = []
    counted = False
    for token in tokens:
        if token not in _SILENT or (token in "()" and numeric) or (token == "!" and counted):
            two_faced = token.isupper() and token.lower() in TWO_FACED and not shouted
            letter = token == "A" and folded and not shouted
            unit = counted and len(token) < 4 and not shouted
            folded.append(token if two_faced or letter or unit else _folded(token))
        counted = token[-1].isdigit()
    return _canonical(" ".join(folded))


def _folded(token: str) -> str:
    if token[0].isdigit():
        return token.replace(",", "") if _THOUSANDS.fullmatch(token) else token
    word = token.lower().replace("’", "'")
    if re.fullmatch(r"(?:[^\W\d_]\.)+(?:[^\W\d_])?", word):
        return word.replace(".", "")
    return CONTRACTIONS.get(word, SPELLINGS.get(word, word)).rstrip(".")


def _canonical(sentence: str) -> list[str]:
    sentence = _without_frame(sentence)
    sentence = HOW.sub("HOW ", sentence)
    sentence = A_TIME.sub(" ", WRITE_ME.sub(r"\1 ", MEANS.sub(r"meaning of \1", sentence)))
    sentence = WHAT_LAST.sub(r"\1", WHAT.sub("", WH_LAST.sub(r"\1 \3 \2", sentence)))
    sentence = DOING.sub("DO ", BEING.sub("BE ", sentence))
    about_words = not OF_WORDS.isdisjoint(sentence.split())
    words: list[str] = []
    for word in _of_possessive(sentence.split()):
        for part in re.split(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})", word):
            plain = NUMBERS.get(part, part)
            plain = UNITS.get(plain, plain)
            if about_words or plain not in DROPPED or (plain == "a" and words and words[-1] in LETTERED):
                words.append(plain)
    return words[1:] if words[:1] == ["the"] else words


def _without_frame(sentence: str) -> str:
    before = None
    while before != sentence:
        before = sentence
        for opening in OPENINGS:
            rest = opening.sub("", sentence, count=1) if opening.match(sentence) else sentence
            sentence = rest or sentence
    return sentence


def _of_possessive(words: list[str]) -> list[str]:
    """`france's capital` as `capital of france`: the owner behind, up to the next small word or the end."""
    for place, word in enumerate(words):
        if word.endswith(("'s", "s'")) and len(word) > 2:
            owner = word[:-2] if word.endswith("'s") else word[:-1]
            start = place
            while start > 0 and words[start - 1] not in RELATIONS | DROPPED | {"HOW", "BE", "DO"} and start > place - 2:
                start -= 1
            end = place + 1
            while end < len(words) and words[end] not in RELATIONS:
                end += 1
            thing = words[place + 1 : end]
            if thing:
                return [*words[:start], *thing, "of", *words[start:place], owner, *_of_possessive(words[end:])]
    return words


def _names(tokens: list[str]) -> set[str]:
    """Words in capitals where the sentence does not ask for them; none where everything is in capitals."""
    spoken = [token for token in tokens if token[0].isalpha()]
    capital = [token for token in spoken if token[0].isupper()]
    if len(spoken) > 3 and len(capital) == len(spoken):
        return set()
    found, opening = set(), True
    for token in tokens:
        inner = any(letter.isupper() for letter in token[1:])
        if token[0].isupper() and token != "I" and (inner or not opening):
            found.add(_folded(token).removesuffix("'s"))
        opening = token in ".?!:"
    return found


def _language(tokens: list[str]) -> str:
    """The language with most of its small words here, English first; else the script of the first letter; or ''."""
    said = {token.lower() for token in tokens}
    counts = {language: len(said & small) for language, small in LANGUAGES.items()}
    best = max(counts, key=lambda language: (counts[language], language == "en"))
    if counts[best]:
        return best
    first = next((letter for token in tokens for letter in token if letter.isalpha()), "")
    script = unicodedata.name(first, "LATIN").partition(" ")[0] if first else "LATIN"
    return "" if script == "LATIN" else script
