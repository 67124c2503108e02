"""The HTTP API for programs, under /v1/: OpenAI's, so that its clients work, and what is our own.

A door like the websocket: it parses, checks the key, calls one verb and follows the delta log.
"""
