"""The review desk and the operators' pages. Importing this registers them."""

from chat.admin import accounts, catalog, conversations, generations, processes, programs

__all__ = ["accounts", "catalog", "conversations", "generations", "processes", "programs"]
