"""Which language a text is in: told by its script and, for Latin and Cyrillic, by its commonest words.

That is right for texts of a few sentences, which is what a list is filtered by. No model and no library: the
common ones take 30 to 700 MB of memory.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

READ_CHARS = 2_000
# By the first word of the Unicode name of its letters.
_SCRIPTS = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh", "ARABIC": "ar", "HEBREW": "he",
    "THAI": "th", "GREEK": "el", "DEVANAGARI": "hi", "BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te",
    "ARMENIAN": "hy", "GEORGIAN": "ka", "ETHIOPIC": "am", "KHMER": "km", "LAO": "lo", "MYANMAR": "my",
    "CYRILLIC": "ru",
}  # fmt: skip
_WORDS = {
    "en": "the and of to is in that it you for with this are be have not what can how",
    "de": "der die das und ist nicht ein eine zu den mit für auf sich wie auch es ich werden",
    "fr": "le la les et est une des pour que dans pas qui vous avec sur ce je du nous",
    "es": "el los las y es una para que con por no del como se un está más pero lo",
    "it": "il che di è per una non sono con del della come gli più anche questo nel si ho",
    "pt": "o os que não uma para com é do da em como mais você por dos são isso um",
    "nl": "de het een en is van niet dat voor met zijn op te aan ook als ik je",
    "pl": "i w nie na się jest że to z do jak ale czy od przez dla są co",
    "sv": "och att det är som en på inte för med av jag ett har till kan om du",
    "tr": "ve bir bu için ile da de ne çok olarak daha mi gibi var ama ben",
    "vi": "và là của không có cho một được trong các với này những bạn tôi",
    "id": "dan yang di ini itu dengan untuk tidak dari dalam pada adalah akan saya bisa",
    "uk": "і в не на що є це та з як до для я від але бути",
    "ru": "и в не на что с это как я по для но из к от так быть",
}
_LATIN = {code: frozenset(words.split()) for code, words in _WORDS.items() if code not in {"uk", "ru"}}
_CYRILLIC = {code: frozenset(_WORDS[code].split()) for code in ("ru", "uk")}
_WORD = re.compile(r"[^\W\d_]+")
# Fewer common words than this prove nothing.
HITS_MIN = 2


def language_of(text: str) -> str:
    """Return the ISO 639 code of the language of a text; empty if it is not clear."""
    text = text[:READ_CHARS]
    words = _WORD.findall(text.lower())
    script = "LATIN" if text.isascii() else _script(text)
    if script in {"LATIN", "CYRILLIC"}:
        return _by_words(words, _LATIN if script == "LATIN" else _CYRILLIC)
    return _SCRIPTS.get(script, "")


def _script(text: str) -> str:
    scripts = Counter(
        unicodedata.name(character, "").split(" ")[0] for character in text if character.isalpha()
    )
    # A sentence of Japanese may have more Chinese characters than others.
    for kana in ("HIRAGANA", "KATAKANA"):
        if scripts[kana] * 10 > sum(scripts.values()):
            return kana
    return scripts.most_common(1)[0][0] if scripts else ""


def _by_words(words: list[str], languages: dict[str, frozenset[str]]) -> str:
    hits = Counter({code: sum(word in common for word in words) for code, common in languages.items()})
    (best, count), (_second, next_count) = hits.most_common(2)
    return best if count >= HITS_MIN and count > next_count else ""
