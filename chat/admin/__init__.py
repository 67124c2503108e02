"""The admin: pages for reviewers and operators. Importing this package registers them."""

from chat.admin import (
    access,
    accounts,
    batches,
    budgets,
    catalog,
    comparisons,
    conversations,
    feedback,
    generations,
    library,
    processes,
    programs,
    retention,
    usage,
    vocabulary,
)

__all__ = [
    "access",
    "accounts",
    "batches",
    "budgets",
    "catalog",
    "comparisons",
    "conversations",
    "feedback",
    "generations",
    "library",
    "processes",
    "programs",
    "retention",
    "usage",
    "vocabulary",
]
