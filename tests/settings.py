"""Settings of the test run: the real ones, with a private data folder and a clean environment."""

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
# Only the model's own tests start it.
os.environ["CHATSITE_EMBEDDED_MODEL"] = "0"
if "CHATSITE_TEST_DATABASE_URL" in os.environ:
    os.environ["DATABASE_URL"] = os.environ["CHATSITE_TEST_DATABASE_URL"]

from chatsite.settings import *  # noqa: E402, F403  # they read the environment that is prepared above
from chatsite.settings import DATABASES, STATIC_ROOT, STORAGES  # noqa: E402

if "sqlite" in DATABASES["default"]["ENGINE"]:
    # A file, not memory: the real writer uses the database from several threads.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_folder) / "test.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Static files are not collected for unit tests.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT.mkdir()  # the static files middleware warns if it is missing
