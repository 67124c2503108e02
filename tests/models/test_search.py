"""Search ignores case and accents in every script, on both databases."""

import pytest

from chat.models import Conversation, Message
from chat.models.search import fold, spans

# (text, what finds it, what of it is marked)
FOUND = [
    ("Hello world", "hELLO", "Hello"),
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
    ("東京タワー", "東京", "東京"),
    ("ＡＢＣ", "abc", "ＡＢＣ"),
    ("مُحَمَّد", "محمد", "مُحَمَّد"),
    ("100 % … sure", "% …", "% …"),
]
NOT_FOUND = [("ไทย", "ไท้ยย"), ("क", "कि"), ("が", "かき"), ("a%b", "a_b"), ("Hello", "\u0301")]


@pytest.mark.parametrize(("text", "word", "marked"), FOUND)
def test_a_word_is_found_and_marked_whatever_its_case_and_accents(user, text, word, marked):
    by_title = Conversation.objects.create(user=user, title=text)
    by_text = Conversation.objects.create(user=user)
    by_text.messages.create(role=Message.Role.USER, text=f"… before {text} after")
    Conversation.objects.create(user=user, title="other").messages.create(role="user", text="other")

    assert set(Conversation.objects.search(word)) == {by_title, by_text}
    found = spans(text, word.split())
    assert "".join(text[start:end] for start, end in found).replace(" ", "") == marked.replace(" ", "")


@pytest.mark.parametrize(("text", "word"), NOT_FOUND)
def test_letters_that_differ_are_not_found(user, text, word):
    Conversation.objects.create(user=user, title=text)
    assert fold(word) == "" or not Conversation.objects.search(word).exists()
    assert spans(text, [word]) == []


def test_a_search_reads_only_messages_of_the_conversations_in_question(user, other_user):
    Conversation.objects.create(user=other_user).messages.create(role="user", text="needle")
    plan = Conversation.objects.of(user).search("needle").explain()
    assert "SCAN U0" not in plan
    assert not Conversation.objects.of(user).search("needle").exists()


def test_every_word_has_to_be_found(user):
    both = Conversation.objects.create(user=user, title="Привет")
    both.messages.create(role="user", text="и МИР")
    assert list(Conversation.objects.search("мир привет")) == [both]
    assert not Conversation.objects.search("мир война").exists()
