"""The admin: pages for reviewers and operators. Importing this package registers them."""

from chat.admin import accounts, catalog, conversations, generations, processes, programs

__all__ = ["accounts", "catalog", "conversations", "generations", "processes", "programs"]
