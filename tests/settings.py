"""Settings of the test run: the real ones, in a folder of their own, blind to the developer's environment."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.support import environment

environment.clean()
_folder = tempfile.mkdtemp(prefix="chatsite-test-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ["CHATSITE_DATA_DIR"] = _folder
# Nothing starts the real model unless its own tests do.
os.environ["CHATSITE_EMBEDDED_MODEL"] = "0"
if "CHATSITE_TEST_DATABASE_URL" in os.environ:
    os.environ["DATABASE_URL"] = os.environ["CHATSITE_TEST_DATABASE_URL"]

from chatsite.settings import *  # noqa: E402, F403  # the lines above come first, that is their point
from chatsite.settings import DATABASES, STATIC_ROOT, STORAGES  # noqa: E402

if "sqlite" in DATABASES["default"]["ENGINE"]:
    # A file, not memory: tests of the real writer see the database from several threads, as in production.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_folder) / "test.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Nobody collects static files before a unit test.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT.mkdir()  # the middleware that serves it warns of its absence
