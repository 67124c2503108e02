"""The HTTP API under /v1/: OpenAI's protocol, so that OpenAI clients work, and Chatsite's own additions.

An entry point like the websocket: it authenticates and parses a request, stores it as a generation, and
follows the generation's log.
"""
