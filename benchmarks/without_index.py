"""`manage.py` with a search index that stores nothing, to measure what it costs: see index_share.py."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")

from django.core.management import execute_from_command_line

from chat import search

if __name__ == "__main__":
    search.store = lambda documents: None
    execute_from_command_line(sys.argv)
