"""An export of another program that is imported during a scenario, and what must be here in the end."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.attachments.extraction.samples import zipped

# Some have more messages than fit into one transaction of an import.
SHORT, LONG = 50, 6
SHORT_TURNS, LONG_TURNS = 3, 65
MESSAGES = """
SELECT ic.source_id, c.id, im.source_id, m.text FROM chat_importedconversation ic
JOIN chat_conversation c ON c.id = ic.conversation_id JOIN auth_user u ON u.id = c.user_id
JOIN chat_message m ON m.conversation_id = c.id LEFT JOIN chat_importedmessage im ON im.message_id = m.id
WHERE c.deleted_at IS NULL AND u.username = '{user}'
"""
REPORTED = """
SELECT coalesce(sum(i.imported), 0), coalesce(sum(i.updated), 0), coalesce(sum(i.skipped), 0)
FROM chat_conversationimport i JOIN auth_user u ON u.id = i.user_id WHERE u.username = '{user}'
"""


class Export:
    """A ZIP in ChatGPT's format. `data`: its bytes; `count`: how many conversations it has."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self.count = SHORT + LONG
        # Of each message, by its conversation's id and its own.
        self._texts: dict[tuple[str, str], str] = {}
        conversations = [
            self._conversation(f"{number}-{place}", SHORT_TURNS if place < SHORT else LONG_TURNS, rng)
            for place in range(self.count)
        ]
        self.data = zipped({"conversations.json": json.dumps(conversations)})

    def _conversation(self, name: str, turns: int, rng: random.Random) -> dict[str, Any]:
        mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
        parent = "root"
        for turn in range(2 * turns):
            node = f"{name}-{turn}"
            text = f"{node} " + " ".join(str(rng.getrandbits(30)) for _ in range(12))
            self._texts[name, node] = text
            message = {
                "id": node,
                "author": {"role": "assistant" if turn % 2 else "user"},
                "create_time": 1_700_000_000 + turn,
                "content": {"content_type": "text", "parts": [text]},
                "metadata": {},
                "recipient": "all",
            }
            mapping[node] = {"id": node, "message": message, "parent": parent, "children": []}
            parent = node
        times = {"create_time": 1_700_000_000, "update_time": 1_700_000_900}
        own = {"title": f"Conversation {name}", "mapping": mapping, "current_node": parent}
        return {"conversation_id": name, **own, **times}

    def differences(self, fetch: Callable[[str], list[tuple[Any, ...]]], user: str) -> list[str]:
        """Return how what is stored for a user differs from one import of everything."""
        failures: list[str] = []
        found: Counter[tuple[str, str]] = Counter()
        places: dict[str, set[str]] = {}
        for source_id, conversation, message, text in fetch(MESSAGES.format(user=user)):
            found[source_id, message] += 1
            places.setdefault(source_id, set()).add(conversation)
            if self._texts.get((source_id, message)) != text:
                failures.append(f"message {message} of {source_id} has the text {text!r}")
        failures += [f"message {key} is missing" for key in self._texts if not found[key]]
        failures += [f"message {key} is there {count} times" for key, count in found.items() if count > 1]
        failures += [f"{name} is there {len(ids)} times" for name, ids in places.items() if len(ids) > 1]
        if (reported := fetch(REPORTED.format(user=user))) != [(self.count, 0, 0)]:
            failures.append(
                f"of {self.count} conversations, reports say (imported, updated, skipped): {reported}"
            )
        return failures
