"""Render Markdown to HTML that is safe to put into a page."""

from chat.rendering.pipeline import MAX_CHARS, arender, render

__all__ = ["MAX_CHARS", "arender", "render"]
