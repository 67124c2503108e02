"""One scripted answer: its deltas, and their encoding as server-sent events or as JSON."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from chat.fakeprovider import capable, choices, pictures, sample_text
from chat.fakeprovider.behaviours import Behaviour
from chat.fakeprovider.chat_request import ChatRequest

REASONING_DELTAS = 5
_NOISE_EVERY = 3  # noise: null content, empty choices, comments
_ODD_CHARACTERS_EVERY = 10
_ODD_USAGE = {
    "floats": '{"prompt_tokens":5.0,"completion_tokens":9.5}',
    "strings": '{"prompt_tokens":"5","completion_tokens":"many"}',
    "empty": '""',
}
# The values of `usage` with which it is sent inside the finish event.
_INSIDE = {"inline", *_ODD_USAGE}
# The keys of parts that are JSON already.
_JSON_KEYS = ("tool_calls", "images", "image_parts")
_FIRST_VALUE = re.compile(r'\{"\w+":(.*)\}', re.DOTALL)


@dataclass
class ScriptedAnswer:
    """The deltas of one answer, in order; `parts` are pairs of JSON key and text."""

    id: str
    model: str
    behaviour: Behaviour
    request: ChatRequest
    text: str
    parts: list[tuple[str, str]]
    finish: str
    prefill_matched: bool | None = None
    # The parts of the choices after the first one.
    further: list[list[tuple[str, str]]] = field(default_factory=list)
    created: int = field(default_factory=lambda: int(time.time()))

    def text_of(self, deltas: int, *keys: str) -> str:
        """Return the text that the first `deltas` deltas carry."""
        wanted = keys or ("content", "refusal")
        return sample_text.join_surrogates(
            "".join(piece for key, piece in self.parts[:deltas] if key in wanted)
        )

    def usage(self, deltas: int) -> dict[str, Any]:
        prompt = self.request.prompt_words
        usage = {"prompt_tokens": prompt, "completion_tokens": deltas, "total_tokens": prompt + deltas}
        if not self.behaviour.capable:
            return usage
        reasoning = sum(key == "reasoning" for key, _piece in self.parts[:deltas])
        return usage | {
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }


def full_text(behaviour: Behaviour, request: ChatRequest, attempt: int) -> str:
    """Return the whole text of the answer, including a beginning that the request prefills."""
    if behaviour.text is not None:
        return behaviour.text
    if behaviour.capable and (text := capable.text_for(request)) is not None:
        return text
    if behaviour.echo:
        return request.plain_question
    seed = sample_text.seed_of(request.plain_question) if behaviour.seed is None else behaviour.seed
    seed += attempt if behaviour.vary else 0
    return sample_text.write(seed, (behaviour.deltas or 0) * behaviour.chars)


def prepare(id: str, behaviour: Behaviour, request: ChatRequest, attempt: int) -> ScriptedAnswer:
    """Return the answer to `request`, without the beginning that its prefill already contains."""
    behaviour = _as_asked(behaviour, request)
    text = full_text(behaviour, request, attempt)
    prefill = request.prefill
    is_echoed = behaviour.prefill == "echo" or (behaviour.prefill == "llama" and not request.is_streamed)
    is_used = prefill is not None and behaviour.prefill != "ignore"
    if behaviour.prefill == "vllm" and request.prefill_form != "vllm":
        is_used = False
    matched = text.startswith(prefill) if is_used and prefill is not None else None
    rest = text[len(prefill) :] if matched and prefill else text
    if is_used and is_echoed and prefill:
        rest = prefill + rest
    calls = _calls(behaviour, request, id)
    parts = _with_pictures(behaviour, _parts(behaviour, rest, calls), text, attempt)
    finish = behaviour.finish or ("tool_calls" if calls else "stop")
    if request.max_deltas and request.max_deltas < len(parts):
        parts, finish = parts[: request.max_deltas], "length"
    further = [
        _parts(behaviour, _further_text(text, index), []) if not calls else parts
        for index in range(1, choices.count_in(request))
    ]
    return ScriptedAnswer(id, request.model, behaviour, request, text, parts, finish, matched, further)


def _with_pictures(
    behaviour: Behaviour, parts: list[tuple[str, str]], text: str, attempt: int
) -> list[tuple[str, str]]:
    seed = sample_text.seed_of(text) + (attempt if behaviour.vary else 0)
    made = pictures.parts_of(behaviour.image_shape, behaviour.images, seed)
    return made + parts if behaviour.images_first else parts + made


def _further_text(text: str, index: int) -> str:
    """Return the text of another choice, which differs from that of the first."""
    return f"({index}) {text}"


def _as_asked(behaviour: Behaviour, request: ChatRequest) -> Behaviour:
    """Return the behaviour with what a capable model does: reason if asked to, stream even a short text."""
    if not behaviour.capable:
        return behaviour
    effort = request.body.get("reasoning_effort")
    reasoning = REASONING_DELTAS if effort not in (None, "none") else 0
    return replace(behaviour, reasoning=behaviour.reasoning or reasoning, chars=min(behaviour.chars, 2))


def _calls(behaviour: Behaviour, request: ChatRequest, id: str) -> list[tuple[str, str]]:
    """Return the pieces of the calls of an answer."""
    if behaviour.capable:
        uses = capable.calls_for(request)
        # Unlike the fixed ids below they differ between answers: a program's history has those of several.
        ids = [f"call_{id.rpartition('_')[2]}_{number}" for number in range(len(uses))]
    else:
        uses = [
            capable.ToolUse("forecast", json.dumps({"city": "Zürich", "days": number + 1}))
            for number in range(behaviour.tool_calls)
        ]
        ids = [f"call_{number}" for number in range(len(uses))]
    return [part for number, use in enumerate(uses) for part in _tool_call(number, ids[number], use)]


def _parts(behaviour: Behaviour, text: str, calls: list[tuple[str, str]]) -> list[tuple[str, str]]:
    reasoning = sample_text.write(sample_text.seed_of("thoughts"), behaviour.reasoning * behaviour.chars)
    parts = [("reasoning", piece) for piece in _pieces(behaviour, reasoning)]
    if calls:
        if behaviour.text_first:
            parts += [("content", piece) for piece in _pieces(behaviour, text)]
        return parts + calls
    if behaviour.role_only:
        return parts
    key = "refusal" if behaviour.refusal else "content"
    return parts + [(key, piece) for piece in _with_odd_characters(behaviour, _pieces(behaviour, text))]


def _pieces(behaviour: Behaviour, text: str) -> list[str]:
    step = max(behaviour.chars, 1)
    if behaviour.split_pairs:
        return [half for n in range(0, len(text), step) for half in _split(text[n : n + step])]
    return [text[n : n + step] for n in range(0, len(text), step)]


def _split(piece: str) -> list[str]:
    """Cut a piece inside each of its surrogate pairs."""
    parts = [""]
    for unit in sample_text.split_surrogates(piece):
        if "\udc00" <= unit <= "\udfff" and parts[-1]:
            parts.append("")
        parts[-1] += unit
    return parts


def _with_odd_characters(behaviour: Behaviour, pieces: list[str]) -> list[str]:
    """Add characters that databases and encoders reject."""
    odd = "\0" * behaviour.nul + "\ud83d" * behaviour.lone
    if not odd:
        return pieces
    return [piece + odd if n % _ODD_CHARACTERS_EVERY == 0 else piece for n, piece in enumerate(pieces)]


def _tool_call(number: int, id: str, use: capable.ToolUse) -> list[tuple[str, str]]:
    begin = {"index": number, "id": id, "type": "function"}
    calls: list[dict[str, Any]] = [begin | {"function": {"name": use.name, "arguments": ""}}]
    calls += [
        {"index": number, "function": {"arguments": use.arguments[n : n + 8]}}
        for n in range(0, len(use.arguments), 8)
    ]
    return [("tool_calls", json.dumps([call])) for call in calls]


class EventEncoder:
    """Encode an answer as server-sent events, one at a time."""

    def __init__(self, answer: ScriptedAnswer) -> None:
        self._answer = answer
        behaviour = self._behaviour = answer.behaviour
        self._dumps = encode_basestring_ascii if behaviour.ascii else encode_basestring
        self._eol = "\r\n" if behaviour.crlf else "\n"
        self._usage = behaviour.usage
        if self._usage == "auto":
            self._usage = "always" if answer.request.wants_usage else "never"
        head = {
            "id": answer.id,
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": answer.model,
            "system_fingerprint": "fp_fake",
        }
        self._head = json.dumps(head)[:-1]

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Yield events: their bytes, and how many deltas they carry."""
        mark = "\ufeff".encode() if self._behaviour.bom else b""
        yield mark + self._choice('{"role":"assistant","content":""}'), 0
        behaviour = self._behaviour
        noise = self._noise() if behaviour.comments or behaviour.null_content or behaviour.no_choices else b""
        if choices.are_special(self._answer.request):
            yield from self._pieces_of_choices()
            return
        around = {key: self._around(key) for key in ("content", "refusal", "reasoning", *_JSON_KEYS)}
        for number, (key, piece) in enumerate(self._answer.parts):
            encode = str if key in _JSON_KEYS else self._dumps
            if behaviour.stamp and key not in _JSON_KEYS:
                piece = f"{time.monotonic():.6f} "
            try:
                event = _fill(around[key], encode(piece))
            except UnicodeEncodeError:
                # UTF-8 cannot encode half a surrogate pair; only an escape can carry it.
                event = _fill(around[key], encode_basestring_ascii(piece))
            yield (noise + event if number % _NOISE_EVERY == 0 else event), 1
        yield self._ending(), 0

    def _pieces_of_choices(self) -> Iterator[tuple[bytes, int]]:
        answer = self._answer
        for place in choices.interleaved([answer.parts, *answer.further]):
            pieces = [choices.piece_of(index, part, answer.request) for index, part in place]
            events = (self.data(f'{self._head}, "choices":[{json.dumps(piece)}]}}') for piece in pieces)
            yield b"".join(events), int(place[0][0] == 0)
        ends = b""
        for index in range(1, len(answer.further) + 1):
            end = {"index": index, "delta": {}, "logprobs": None, "finish_reason": answer.finish}
            ends += self.data(f'{self._head}, "choices":[{json.dumps(end)}]}}')
        yield ends + self._ending(), 0

    def _around(self, key: str) -> tuple[str, str, str]:
        """Return the bytes before, between and after a delta's encoded text, the same for all deltas."""
        before, *between, after = self._choice(self._delta_of(key), is_text=True).decode().split("\0")
        return before, "".join(between), after

    def _delta_of(self, key: str) -> str:
        """Return the JSON of a delta with its text left open."""
        if self._behaviour.shape == "parts" and key == "content":
            return '{"content":[{"type":"reference","reference_ids":[1]},{"type":"text","text":\0}]}'
        if self._behaviour.shape == "parts" and key == "reasoning":
            return '{"content":[{"type":"thinking","thinking":[{"type":"text","text":\0}]}]}'
        names = _reasoning_names(self._behaviour) if key == "reasoning" else (key,)
        names = ("content",) if key == "image_parts" else names
        return "{" + ",".join(f'"{name}":\0' for name in names) + "}"

    def data(self, payload: str) -> bytes:
        return f"data: {payload}{self._eol}{self._eol}".encode()

    def _choice(self, delta: str, finish: str = "null", extra: str = "", *, is_text: bool = False) -> bytes:
        behaviour = self._behaviour
        if is_text and behaviour.early_finish:
            finish = json.dumps(self._answer.finish)
        shape, value = behaviour.shape, delta
        if shape == "text":
            value = _FIRST_VALUE.sub(r"\1", delta) if is_text else '""'
        name = shape if shape in ("message", "text") else "delta"
        choice = f'{{"index":0,"{name}":{value},"logprobs":null,"finish_reason":{finish}}}'
        if behaviour.second_choice:
            choice += ',{"index":1,"delta":{"content":"another answer"},"finish_reason":"length"}'
        return self.data(f'{self._head}, "choices":[{choice}]{extra}}}')

    def _noise(self) -> bytes:
        behaviour = self._behaviour
        return (
            (f": comment{self._eol}{self._eol}".encode() if behaviour.comments else b"")
            + (self._choice('{"content":null}') if behaviour.null_content else b"")
            + (self.data(f'{self._head}, "choices":[]}}') if behaviour.no_choices else b"")
        )

    @property
    def usage(self) -> dict[str, Any] | None:
        """The token counts that the end of the answer has; None: none, or of an odd type."""
        is_sent = self._usage in ("always", "inline")
        return self._answer.usage(len(self._answer.parts)) if is_sent else None

    def _ending(self) -> bytes:
        answer, behaviour = self._answer, self._behaviour
        usage = json.dumps(answer.usage(len(answer.parts)))
        end = b""
        if behaviour.role_only:
            end += self._choice('{"content":null}') + self._choice('{"content":""}')
        if answer.finish != "none":
            extra = f',"usage":{_ODD_USAGE.get(self._usage, usage)}' if self._usage in _INSIDE else ""
            end += self._choice("{}", json.dumps(answer.finish), extra)
        if self._usage == "always":
            end += self.data(f'{self._head}, "choices":[],"usage":{usage}}}')
        return end + (b"" if behaviour.no_done else self.data("[DONE]"))


def _reasoning_names(behaviour: Behaviour) -> tuple[str, ...]:
    key = behaviour.reasoning_key
    return ("reasoning_content", "reasoning") if key == "both" else (key,)


def _fill(around: tuple[str, str, str], encoded: str) -> bytes:
    before, between, after = around
    text = f"{before}{encoded}{between}{encoded}{after}" if between else f"{before}{encoded}{after}"
    return text.encode()


def document(answer: ScriptedAnswer) -> bytes:
    """Return the answer as one JSON document, for requests that do not stream."""
    behaviour, count = answer.behaviour, len(answer.parts)
    message: dict[str, Any] = {"role": "assistant", "content": answer.text_of(count, "content") or None}
    if reasoning := answer.text_of(count, "reasoning"):
        message |= dict.fromkeys(_reasoning_names(behaviour), reasoning)
    if behaviour.refusal:
        message["refusal"] = answer.text_of(count, "refusal")
    if calls := _joined_calls(answer):
        message["tool_calls"] = calls
    if images := [each for key, piece in answer.parts if key == "images" for each in json.loads(piece)]:
        message["images"] = images
    if made := [each for key, piece in answer.parts if key == "image_parts" for each in json.loads(piece)]:
        message["content"] = [{"type": "text", "text": message["content"] or ""}, *made]
    finish = None if answer.finish == "none" else answer.finish
    listed = [choices.whole(0, message, answer.parts, finish, answer.request)]
    for index, parts in enumerate(answer.further, 1):
        other = {"role": "assistant", "content": "".join(piece for key, piece in parts if key == "content")}
        listed.append(choices.whole(index, other, parts, finish, answer.request))
    head = {"id": answer.id, "object": "chat.completion", "created": answer.created, "model": answer.model}
    usage = {} if behaviour.usage == "never" else {"usage": answer.usage(count)}
    return json.dumps(head | {"choices": listed} | usage).encode()


def _joined_calls(answer: ScriptedAnswer) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for key, piece in answer.parts:
        for call in json.loads(piece) if key == "tool_calls" else ():
            known = calls.setdefault(call["index"], call)
            if known is not call:
                known["function"]["arguments"] += call["function"]["arguments"]
    return list(calls.values())
