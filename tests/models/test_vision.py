"""The first guess of which models see."""

import pytest

from chat.models.vision import makes_by_name, sees_by_name


@pytest.mark.parametrize(
    "name",
    [
        *("gpt-4o-mini", "gpt-5.2", "o3", "claude-sonnet-4-5", "gemini-2.5-flash", "google/gemma-3-27b-it"),
        *("Qwen/Qwen2.5-VL-7B-Instruct", "qwen3-vl:8b", "llama3.2-vision", "llava:13b", "llama-4-scout"),
    ],
)
def test_models_that_see(name):
    assert sees_by_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "gpt-3.5-turbo",
            "o3-mini",
            "gpt-4o-audio-preview",
            "gpt-4o-transcribe",
            "qwen2.5-coder:7b",
            "fake",
        ),
        *("deepseek-chat", "mistral-7b-instruct", "SmolLM2-135M-Instruct", "text-embedding-3-small"),
    ],
)
def test_models_that_do_not(name):
    assert not sees_by_name(name)


@pytest.mark.parametrize(
    "name", ["google/gemini-2.5-flash-image", "openai/gpt-5-image-mini", "black-forest-labs/flux.2-pro"]
)
def test_models_that_make_pictures(name):
    assert makes_by_name(name)


@pytest.mark.parametrize(
    "name", ["gemini-2.5-flash", "gpt-4o", "imagenet-classifier", "imagebind-7b", "fake"]
)
def test_models_that_make_none(name):
    assert not makes_by_name(name)
