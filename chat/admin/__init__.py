"""The admin: review of conversations, logs, and operation of processes. Importing it registers all pages."""

from chat.admin import accounts, catalog, conversations, generations, processes, programs

__all__ = ["accounts", "catalog", "conversations", "generations", "processes", "programs"]
