"""Which models see or make pictures, by their names: a first guess, which staff correct on a model's page."""

from __future__ import annotations

import re

# Families whose models all see, and marks of those that do in families where only some do.
_SEES = re.compile(
    r"gpt-4o|gpt-4\.1|gpt-4-turbo|gpt-[5-9]|chatgpt-|\bo[134]\b(?!-mini-20)|claude-|gemini-|gemma-?[34]|llama-?4"
    r"|llava|pixtral|mistral-(?:small|medium|large)-?[3-9]|internvl|minicpm-v|molmo|moondream|grok-[4-9]"
    r"|[-_.:/]vl\b|vl[-_:.\d]|vision|multimodal|omni",
    re.IGNORECASE,
)
_BLIND = re.compile(r"audio|realtime|embed|whisper|tts|transcribe|o1-mini|o3-mini|guard", re.IGNORECASE)

# Models that answer a chat with pictures, at providers that have an API for that.
_MAKES = re.compile(r"(?:gemini|gpt|qwen)[-\w.]*-image\b|nano-banana|flux[.-]?\d", re.IGNORECASE)


def sees_by_name(name: str) -> bool:
    """Return whether a model with this name is known to take pictures."""
    return bool(_SEES.search(name)) and not _BLIND.search(name)


def makes_by_name(name: str) -> bool:
    """Return whether a model with this name is known to answer with pictures if it is asked for them."""
    return bool(_MAKES.search(name))
