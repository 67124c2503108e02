"""Search ignores case and accents in every script, takes any input, and finds only what is there."""

import pytest

from chat import search
from chat.models import Conversation, Message

# (text, what finds it, what of it is marked)
FOUND = [
    ("Hello world", "hELLO", "Hello"),
    ("Hello world", "wor", "wor"),
    ("Привет мир", "привет", "Привет"),
    ("привет МИР", "Мир", "МИР"),
    ("Ёлка", "елка", "Ёлка"),
    ("ΟΔΥΣΣΕΥΣ", "οδυσσευς", "ΟΔΥΣΣΕΥΣ"),
    ("Οδυσσεύς", "ΟΔΥΣΣΕΎΣ", "Οδυσσεύς"),
    ("große Straße", "STRASSE", "Straße"),
    ("Ein Café hier", "cafe", "Café"),
    ("Ein Cafe\u0301 hier", "CAFÉ", "Cafe\u0301"),
    ("São Tomé", "sao", "São"),
    ("İstanbul", "istanbul", "İstanbul"),
    ("Տիգրան", "տԻԳ", "Տիգ"),
    ("ⴀⴁⴂ", "ႠႡ", "ⴀⴁ"),
    ("한국어", "국어", "국어"),
    ("ガイド", "ガイ", "ガイ"),
    ("ガイド", "イ", "イ"),
    ("东京塔在日本", "日本", "日本"),
    ("我们明天去北京天安门", "北京 天安", "北京天安"),
    ("東京タワー", "京タ", "京タ"),
    ("ＡＢＣ", "abc", "ＡＢＣ"),
    ("مُحَمَّد", "محمد", "مُحَمَّد"),
    ("ภาษาไทย", "ไทย", "ไทย"),
    ("हिन्दी में", "हिन्दी", "हिन्दी"),
    ("100 % sure", "100 %", "100%"),
    ("in C++ and C#", '"c++" c#', "C++C#"),
    ("snake_case.py", "snake_case", "snake_case"),
    ("mail ada@example.org now", "ada@example.org", "ada@example.org"),
    ("nice 🙂 day", "🙂", "🙂"),
    ("in\u200bvisible \u202eturned", "invisible turned", "in\u200bvisibleturned"),
]
NOT_FOUND = [
    *(("ไทย", "ไท้ยย"), ("क", "कि"), ("が", "かき"), ("a%b", "a_b"), ("Hello", "\u0301"), ("Hello", "ello")),
    *(("one two three", '"two one"'), ("one two", '"one tw"'), ("日本", "本日"), ("alpha", "a")),
]
HOSTILE = [
    *('"', '""', "'", "*", "a*", '"a" OR "b"', "text : x", "NEAR(a b)", "{title} : a", "-x", "^x", "a AND"),
    *("a\x00b", "\ud800", "'; DROP TABLE chat_search; --", ":* & !", "<-> | \\", "%s %(x)s", "…", "(", ")"),
    *(
        "a " * 10_000,
        "x" * 100_000,
        "\u202e\u0301",
        '"unfinished phrase',
        "“quoted”",
        "\U000e0001",
        "😀" * 500,
    ),
]


@pytest.fixture
def say(user):
    """Return a function that stores a conversation with one message."""

    def say(text, title="", of=user, **fields):
        conversation = Conversation.objects.create(user=of, title=title, **fields)
        conversation.messages.create(role=Message.Role.USER, text=text)
        return conversation

    return say


@pytest.mark.parametrize(("text", "query", "marked"), FOUND)
def test_a_word_is_found_and_marked_whatever_its_case_and_accents(say, text, query, marked):
    by_title, by_text = say("unrelated", title=text), say(f"… before {text} after")
    say("other", title="other")

    assert set(Conversation.objects.search(query)) == {by_title, by_text}
    found = search.spans(text, search.terms_of(query))
    assert "".join(text[start:end] for start, end in found).replace(" ", "") == marked


@pytest.mark.parametrize(("text", "query"), NOT_FOUND)
def test_what_differs_is_not_found(say, text, query):
    say(text, title=text)
    assert not Conversation.objects.search(query).exists()
    assert search.spans(text, search.terms_of(query)) == []


@pytest.mark.parametrize("query", HOSTILE)
def test_any_input_is_a_valid_query(say, query):
    say("some text", title="a title")
    hits = search.find(query)
    search.snippets(hits, hits.message_of)


def test_every_term_has_to_be_in_the_message_or_its_title(say):
    both = say("и МИР", title="Привет")
    assert list(Conversation.objects.search("мир привет")) == [both]
    assert not Conversation.objects.search("мир война").exists()


def test_a_phrase_does_not_reach_from_the_title_into_the_text(say):
    say("three four", title="one two")
    assert search.find('"one two"').message_of
    assert not search.find('"two three"').message_of


def test_a_search_of_one_user_finds_only_their_own(say, user, other_user):
    own, hidden = say("needle"), say("needle", is_hidden=True)
    theirs = say("needle", of=other_user)
    assert set(search.find("needle").message_of) == {own.pk, hidden.pk, theirs.pk}
    assert set(search.find("needle", user_id=user.pk).message_of) == {own.pk, hidden.pk}
    assert set(search.find("needle", user_id=user.pk, with_hidden=False).message_of) == {own.pk}
    assert not search.find(f"u{user.pk}").message_of


def test_the_newest_hits_are_read_and_more_are_told(say):
    old, new = say("needle one"), say("needle two")
    hits = search.find("needle", limit=1)
    assert set(hits.message_of) == {new.pk}
    assert hits.is_cut
    newest = new.messages.get().pk
    assert set(search.find("needle", first_id=newest).message_of) == {new.pk}
    assert not search.find("needle", limit=2).is_cut
    assert old.pk in search.find("needle", limit=2).message_of


def test_a_very_long_text_is_found_at_its_end(say):
    long = say("word " * 39_000 + "needle")
    assert set(search.find("needle").message_of) == {long.pk}
    assert "needle" in search.snippets(search.find("needle"), [long.pk])[long.pk]


def test_the_snippet_is_the_text_around_the_match_and_its_markup_is_inert(say):
    found = say("x " * 2_000 + "<script>alert(1)</script> nEEdle & <b>more</b> " + "y " * 2_000)
    hits = search.find("needle")
    cut = search.snippets(hits, [found.pk])[found.pk]
    html = search.marked(cut, hits.terms)
    assert "<mark>nEEdle</mark> &amp; &lt;b&gt;more" in html
    assert "<script" not in html
    assert len(cut) <= 140


MARKDOWN = """# Grafting

Some words before. A **scion** from a [tree](https://example.org) is joined by `joints()`:

- [ ] cut *both*

| stock | height |
|---|--:|
| M9 | 2 m |

```python
hold(2)
```

---
> The end."""


def test_a_snippet_is_the_words_of_markdown_without_its_marks(say):
    found = say(MARKDOWN)
    hits = search.find("scion")
    cut = search.snippets(hits, [found.pk])[found.pk]
    assert cut == (
        "Grafting Some words before. A scion from a tree is joined by joints(): cut both stock height M9 2 m "
        "hold(2) The end."
    )


def test_a_snippet_begins_with_a_whole_word(say):
    found = say("unmistakable " * 20 + "scion")
    hits = search.find("scion")
    assert search.snippets(hits, [found.pk])[found.pk] == "unmistakable unmistakable unmistakable scion"


@pytest.mark.parametrize("query", ["example.org", "python"])
def test_what_is_only_in_the_marks_is_shown_as_it_was_written(say, query):
    found = say(MARKDOWN)
    assert query in search.snippets(search.find(query), [found.pk])[found.pk]
