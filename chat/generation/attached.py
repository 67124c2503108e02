"""The files of a prompt's messages: documents as text before the question, pictures as parts after it.

The pictures of an answer go with the question that follows it: providers refuse pictures in answers.

Files are read before the first call, newest message first, and no more of them than any model of the route
could be sent. What a model cannot see, or what does not fit, is said: to the model in the prompt, and to the
user in the details of the answer.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _

from chat.models.attachment import Attachment
from chat.models.catalog import Model
from chat.models.message import Message
from chat.models.project_file import ProjectFile
from chat.models.stored_content import StoredContent

logger = logging.getLogger(__name__)

# Of one prompt, and as base64. Providers refuse more in a request, and a request stays in memory.
PICTURES_MAX = 20
PICTURE_BYTES_MAX = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file as a model is sent it. `pictures`: data URLs; `is_lost`: its file could not be read."""

    name: str
    tokens: int
    text: str = ""
    pictures: tuple[str, ...] = ()
    is_image: bool = False
    is_lost: bool = False


# The pictures of a file for a model, each with its type.
type Shown = Sequence[tuple[str, StoredContent]]
type _FoundFiles = dict[int, list[tuple[Attachment, Shown]]]
type AttachedFiles = Mapping[int, Sequence[AttachedFile]]

NO_FILES: AttachedFiles = {}


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent of one message: its text, with those of its documents, and parts with pictures."""

    text: str
    pictures: tuple[dict[str, Any], ...] = ()


async def read_files(history: Sequence[Message], max_tokens: int) -> AttachedFiles:
    """Return the files of these messages, by message. No query and no wait if there are none.

    `max_tokens`: the largest context of the route; files of older messages are not read beyond it.
    """
    if not any(message.attachment_tokens for message in history):
        return NO_FILES
    found: _FoundFiles = await database_sync_to_async(_find)(history, max_tokens)
    # On another thread: all generations share the one of the database, and a bucket may take its time.
    return await asyncio.to_thread(_read, found)


def _find(history: Sequence[Message], max_tokens: int) -> _FoundFiles:
    needed: list[Message] = []
    for message in reversed(history):
        if message.attachment_tokens and (max_tokens > 0 or not needed):
            needed.append(message)
        max_tokens -= message.attachment_tokens
    attachments = Attachment.by_message(needed, with_text=True)
    return {
        message.pk: [(attachment, shown_of(attachment)) for attachment in attachments[message.pk]]
        for message in needed
    }


def shown_of(attachment: Attachment) -> Shown:
    """Return the pictures of a file; none if it has text."""
    if attachment.content is None:
        return []
    if attachment.is_image:
        return [(attachment.media_type, attachment.content)]
    if attachment.text:
        return []
    return [(page.media_type, page.content) for page in attachment.pages.select_related("content")]


def _read(found: _FoundFiles) -> AttachedFiles:
    budget = _PictureBudget()
    return {pk: [_file_of(*each, budget) for each in files] for pk, files in found.items()}


class _PictureBudget:
    """How many pictures the prompt may still have."""

    def __init__(self) -> None:
        self._count, self._bytes = PICTURES_MAX, PICTURE_BYTES_MAX

    def take(self, size_bytes: int) -> bool:
        fits = self._count > 0 and self._bytes >= size_bytes
        if fits:
            self._count, self._bytes = self._count - 1, self._bytes - size_bytes
        return fits


def _file_of(attachment: Attachment, shown: Shown, budget: _PictureBudget) -> AttachedFile:
    if attachment.content is None:
        return AttachedFile(attachment.name, 0, attachment.text, is_lost=not attachment.text)
    file = AttachedFile(attachment.name, attachment.tokens, attachment.text, is_image=bool(shown))
    try:
        pictures = [
            f"data:{media_type};base64,{b64encode(content.read()).decode()}"
            for media_type, content in shown
            if budget.take(content.size_bytes)
        ]
    except OSError:
        logger.exception("the file of attachment %s cannot be read", attachment.pk)
        return replace(file, is_lost=True)
    return replace(file, pictures=tuple(pictures))


async def read_project(project_id: int) -> list[AttachedFile]:
    """Return the files of a project."""
    files: list[AttachedFile] = await database_sync_to_async(files_of_project)(project_id)
    return files


def files_of_project(project_id: int | None) -> list[AttachedFile]:
    """Return the files of a project, if there is one."""
    found = [] if project_id is None else ProjectFile.of(project_id)
    return [AttachedFile(each.name, each.tokens, each.text) for each in found]


def with_project(
    system: str, files: Sequence[AttachedFile], room: int, model: Model
) -> tuple[str, list[str]]:
    """Return the system prompt with the files of the project that fit into `room` tokens, and notes.

    A file fits or is left out as a whole: the beginning of the prompt stays the same from turn to turn.
    """
    texts, left_out = [system] if system else [], []
    for file in files:
        if file.tokens <= room:
            texts.append(_text_for(file, model))
            room -= file.tokens
        else:
            left_out.append(file.name)
    if left_out:
        texts.append(f"[Files of the project that did not fit: {', '.join(left_out)}]")
    note = _("“%(name)s” of the project was not sent: it does not fit into the context of %(model)s.")
    return "\n\n".join(texts), [note % {"name": name, "model": model} for name in left_out]


def content_of(message: Message, files: Sequence[AttachedFile], model: Model) -> Content:
    """Return what `model` is sent of a message with these files."""
    texts = [_text_for(file, model) for file in files]
    pictures = (url for file in files for url in file.pictures) if model.sees_images else ()
    parts = tuple({"type": "image_url", "image_url": {"url": url}} for url in pictures)
    return Content("\n\n".join(text for text in (*texts, message.text) if text.strip()), parts)


def contents_of(
    question: Message,
    asked: Sequence[AttachedFile],
    earlier: Sequence[Message],
    files: AttachedFiles,
    model: Model,
) -> dict[int, Content]:
    """Return what is sent of messages with files. `asked`: those of the question; `earlier`: newest first."""
    contents = {question.pk: content_of(question, asked, model)}
    following = question
    for each in earlier:
        own = files.get(each.pk, ())
        if each.role == Message.Role.USER:
            contents[each.pk] = content_of(each, own, model)
            following = each
        elif own:
            contents[each.pk] = answer_of(each, own)
            contents[following.pk] = with_answer(contents[following.pk], own, model)
    return contents


def answer_of(message: Message, files: Sequence[AttachedFile]) -> Content:
    """Return what is sent of an answer with pictures: words in their place."""
    notes = (f'[You answered with the picture "{file.name}".]' for file in files)
    return Content("\n\n".join(text for text in (message.text, *notes) if text.strip()))


def with_answer(content: Content, files: Sequence[AttachedFile], model: Model) -> Content:
    """Return the content of a question, and after it the pictures of the answer before it."""
    if not model.sees_images or not any(file.pictures for file in files):
        return content
    parts = list(content.pictures)
    for file in files:
        if file.pictures:
            parts.append({"type": "text", "text": f'[The picture "{file.name}" of your answer above:]'})
            parts += ({"type": "image_url", "image_url": {"url": url}} for url in file.pictures)
    return replace(content, pictures=tuple(parts))


def document_text(name: str, text: str) -> str:
    """Return a document as a model is sent it."""
    quoted = name.replace('"', "'")
    return f'<file name="{quoted}">\n{text}\n</file>'


def _text_for(file: AttachedFile, model: Model) -> str:
    name = file.name.replace('"', "'")
    if file.is_lost:
        return f'[The file "{name}" could not be read.]'
    if file.text:
        return document_text(file.name, file.text)
    if not model.sees_images:
        return f'[The user attached the picture "{name}", which you cannot see.]'
    return "" if file.pictures else f'[The picture "{name}" was left out: there are too many.]'


def notes_on(files: Sequence[AttachedFile], model: Model) -> list[str]:
    """Return what people should know about the files of a question."""
    notes = []
    for file in files:
        values = {"name": file.name, "model": model}
        if file.is_lost:
            notes.append(_("“%(name)s” could not be read, and was not sent.") % values)
        elif file.is_image and not model.sees_images:
            notes.append(_("“%(name)s” was not sent: %(model)s cannot see pictures.") % values)
        elif file.is_image and not file.pictures:
            notes.append(_("“%(name)s” was not sent: there are too many pictures.") % values)
    return notes


def cut_to(files: Sequence[AttachedFile], room: int, model: Model) -> tuple[list[AttachedFile], list[str]]:
    """Shorten the documents among `files` to `room` tokens together; also return what people should know."""
    total = sum(file.tokens for file in files if file.text)
    if total <= room:
        return list(files), []
    share = max(0, room) / total
    cut, notes = [], []
    for file in files:
        if not file.text:
            cut.append(file)
            continue
        kept = file.text[: int(len(file.text) * share)]
        text = f"{kept}\n[The rest of this file was left out: it does not fit.]"
        cut.append(replace(file, text=text, tokens=int(file.tokens * share)))
        values = {"name": file.name, "percent": int(share * 100), "model": model}
        notes.append(
            _("Only the first %(percent)d %% of “%(name)s” fit into the context of %(model)s.") % values
        )
    return cut, notes
