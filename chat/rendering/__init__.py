"""Render Markdown to HTML that is safe to put into a page."""

from chat.rendering.pipeline import arender, render

__all__ = ["arender", "render"]
