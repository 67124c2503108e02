"""All settings. Those that an operator may change are read from environment variables.

A `.env` file beside `manage.py` is read first; variables that are already set take precedence.
An invalid value stops the program with a message that names the variable (chatsite/env.py).
A test compares the table in README.md with this file.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP
from dotenv import load_dotenv

from chatsite.env import Environment
from chatsite.file_storage import attachments_storage

BASE_DIR = Path(__file__).resolve().parent.parent
load_dotenv(BASE_DIR / ".env")
env = Environment()


def secret_key(path: Path) -> str:
    """Return the key stored in `path`; create it at the first start, so that sessions survive restarts."""
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # atomic, and the first of two simultaneous starts wins
        draft.unlink()
    return path.read_text().strip()


# The folder of the database, the secret key, the collected static files and the locks.
DATA_DIR = Path(env.text("CHATSITE_DATA_DIR", str(BASE_DIR / "data"))).resolve()
try:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    SECRET_KEY = env.text("CHATSITE_SECRET_KEY") or secret_key(DATA_DIR / "secret_key")
except OSError as exc:
    raise ImproperlyConfigured(f"CHATSITE_DATA_DIR={str(DATA_DIR)!r} cannot be used: {exc}") from exc
DEBUG = env.boolean("CHATSITE_DEBUG", default=False)

# `*` would let a page under any host name talk to this server.
ALLOWED_HOSTS = env.words("CHATSITE_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
# Such as https://chat.example.org, if a proxy in front terminates TLS.
PUBLIC_URL = env.url("CHATSITE_PUBLIC_URL", "http", "https").rstrip("/")
if PUBLIC_URL:
    ALLOWED_HOSTS.append(urlsplit(PUBLIC_URL).hostname or "")
    CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
IS_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
# Proxies whose X-Forwarded- headers are believed, see chatsite/forwarded.py.
TRUSTED_PROXIES = env.networks("CHATSITE_TRUSTED_PROXIES")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "servestatic.runserver_nostatic",
    "chatsite.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "chatsite.static_files.static_files",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "manifest-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    # Diagrams are drawn in a sandboxed document of ours, see `chat/views/diagrams.py`.
    "frame-src": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
}

ROOT_URLCONF = "chatsite.urls"
ASGI_APPLICATION = "chatsite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chat.views.tabs.tabs",
            ],
        },
    },
]

# A process whose counter does not change for this long, by the observer's own clock, is dead.
PROCESS_DEAD_AFTER_S = env.number("CHATSITE_PROCESS_DEAD_AFTER_S", 10.0, minimum=2, maximum=600)

# Scale switch 1 of 2. Empty: SQLite in DATA_DIR, with no other service.
DATABASE_URL = env.url("DATABASE_URL", "postgres", "postgresql", "sqlite")
DB_POOL_SIZE = env.number("CHATSITE_DB_POOL_SIZE", 10, minimum=2, maximum=500)
# NORMAL survives a crash of our processes; FULL also survives loss of power, at about 4 ms a commit.
SQLITE_SYNCHRONOUS = env.choice("CHATSITE_SQLITE_SYNCHRONOUS", "normal", "full")
if DATABASE_URL.startswith("postgres"):
    DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_health_checks=True)}
    options = DATABASES["default"].setdefault("OPTIONS", {})
    # Under ASGI a thread would keep the connection of each request; the pool takes it back.
    options["pool"] = {"min_size": 1, "max_size": DB_POOL_SIZE}
    # A process that hangs in a transaction would keep its locks, and block the takeover of its answers.
    idle_ms = round(PROCESS_DEAD_AFTER_S * 1000)
    options["options"] = (
        f"{options.get('options', '')} -c idle_in_transaction_session_timeout={idle_ms}".strip()
    )
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": dj_database_url.parse(DATABASE_URL)["NAME"]
            if DATABASE_URL
            else str(DATA_DIR / "db.sqlite3"),
            # Opening one costs more than most queries. The threads that use them are kept, too.
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # As DEFERRED, two transactions that both read and then write would deadlock.
                "transaction_mode": "IMMEDIATE",
                "timeout": 10,
                "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={SQLITE_SYNCHRONOUS};",
            },
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Scale switch 2 of 2. Empty: one process needs no Redis.
REDIS_URL = env.url("REDIS_URL", "redis", "rediss", "unix")
# The channel layer carries small notifications that may be lost, never the text of an answer.
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if not REDIS_URL
    else {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
}

LOCAL_TASKS = "chat.runtime.task_backends.local.AsyncioBackend"
TASKS = {
    # In a worker, if there is one.
    "default": {"BACKEND": "chat.runtime.task_backends.celery.CeleryBackend" if REDIS_URL else LOCAL_TASKS},
    # Always in this process.
    "here": {"BACKEND": LOCAL_TASKS},
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
CSRF_FAILURE_VIEW = "chat.views.errors.csrf_failure"
LOGIN_URL = "signin"
LOGIN_REDIRECT_URL = "chat"
LOGOUT_REDIRECT_URL = "signin"
SESSION_ENGINE = "chatsite.sessions"
SESSION_COOKIE_AGE = 30 * 24 * 3600
REGISTRATION_IS_OPEN = env.boolean("CHATSITE_REGISTRATION", default=False)

# The interface is written in English. Django's own texts exist in many languages: with one of these, a page
# would be half translated, and a screen reader would read it in the wrong voice.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
TIME_ZONE = env.text("CHATSITE_TIME_ZONE", "UTC")
if TIME_ZONE not in available_timezones():
    raise ImproperlyConfigured(f"CHATSITE_TIME_ZONE={TIME_ZONE!r} is not a time zone, such as Europe/Berlin.")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "attachments": attachments_storage(env.bucket("CHATSITE_ATTACHMENTS"), DATA_DIR),
    "staticfiles": {"BACKEND": "chatsite.static.ModuleManifestStorage"},
}
SERVESTATIC_KEEP_ONLY_HASHED_FILES = True

LOG_LEVEL = env.choice("CHATSITE_LOG_LEVEL", "info", "debug", "warning", "error").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "without_readiness": {"()": "chatsite.logs.WithoutReadiness"},
        "rejected_requests": {"()": "chatsite.logs.RejectedRequests"},
    },
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "filters": ["rejected_requests"],
        }
    },
    # Libraries log from WARNING up: at INFO some log every request.
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "chat": {"level": LOG_LEVEL},
        "chatsite": {"level": LOG_LEVEL},
        # `chat.notifications` reports once that Redis is away; the library would print a traceback a second.
        "channels_redis": {"level": "CRITICAL"},
        # A missing page (404) is no problem of the server.
        "django.request": {"level": "ERROR", "filters": ["without_readiness"]},
    },
}

# -- the default model ----------------------------------------------------------------------------
# API keys are read from the environment when a call is made; endpoint rows only name the variable.
OPENAI_BASE_URL = env.base_url("OPENAI_BASE_URL")
OPENAI_MODELS = env.words("OPENAI_MODEL")
# Names that chat/models/key_variable.py allows besides its own; a `*` at the end stands for any rest.
API_KEY_VARIABLES = env.names_or_prefixes("CHATSITE_API_KEY_VARIABLES")
OPENAI_IS_CONFIGURED = bool(env.text("OPENAI_API_KEY") or OPENAI_BASE_URL or OPENAI_MODELS)
EMBEDDED_MODEL_IS_WANTED = env.boolean("CHATSITE_EMBEDDED_MODEL", default=not OPENAI_IS_CONFIGURED)

# -- limits ---------------------------------------------------------------------------------------
MESSAGE_MAX_CHARS = env.number("CHATSITE_MESSAGE_MAX_CHARS", 50_000, minimum=100, maximum=200_000)
# A websocket frame. The longest message fits in any script, for UTF-8 has at most four bytes a character;
# 60 KiB remain for a system prompt and ids.
FRAME_MAX_BYTES = max(256 * 1024, 4 * MESSAGE_MAX_CHARS + 60 * 1024)
# Flow control of a websocket: the server sends at most this much unacknowledged text. It is enough for the
# fastest answers, which pages acknowledge each second, and a thousand stalled sockets still fit in memory.
ACK_WINDOW_BYTES = 1024 * 1024
ANSWER_MAX_CHARS = env.number("CHATSITE_ANSWER_MAX_CHARS", 1_000_000, minimum=1_000, maximum=100_000_000)
ASKS_PER_MINUTE = env.number("CHATSITE_ASKS_PER_MINUTE", 30, minimum=1, maximum=100_000)
RUNNING_PER_USER = env.number("CHATSITE_RUNNING_PER_USER", 3, minimum=1, maximum=10_000)
# The API: per key, and per user for all keys together.
RUNNING_PER_KEY = env.number("CHATSITE_RUNNING_PER_KEY", 20, minimum=1, maximum=10_000)
API_RUNNING_PER_USER = env.number("CHATSITE_API_RUNNING_PER_USER", 100, minimum=1, maximum=10_000)
# Requests beyond these limits wait: so many of a key, and all of them no longer than a client waits.
API_WAITING_PER_KEY = env.number("CHATSITE_API_WAITING_PER_KEY", 500, minimum=0, maximum=100_000)
API_WAIT_MAX_S = env.number("CHATSITE_API_WAIT_MAX_S", 600.0, minimum=0.0, maximum=86_400.0)
# Origins whose pages may call the API from a browser, such as https://app.example.org.
API_ORIGINS = env.origins("CHATSITE_API_ORIGINS")
ASKS_PER_MINUTE_PER_KEY = env.number("CHATSITE_ASKS_PER_MINUTE_PER_KEY", 600, minimum=1, maximum=1_000_000)
API_BODY_MAX_BYTES = env.number(
    "CHATSITE_API_BODY_MAX_BYTES", 20_971_520, minimum=1024, maximum=1_073_741_824
)
# One file that a user adds to a message, and all of a user's together.
ATTACHMENT_MAX_BYTES = env.number(
    "CHATSITE_ATTACHMENT_MAX_BYTES", 20_971_520, minimum=1024, maximum=52_428_800
)
ATTACHMENT_QUOTA_BYTES = (
    1024 * 1024 * env.number("CHATSITE_ATTACHMENT_QUOTA_MB", 1024, minimum=1, maximum=1_048_576)
)
# A larger body moves to a file, in one step of the event loop: the default would be 2.5 MB.
FILE_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
# One upload of a batch: a table or a file of requests.
BATCH_UPLOAD_MAX_BYTES = env.number(
    "CHATSITE_BATCH_UPLOAD_MAX_BYTES", 52_428_800, minimum=1024, maximum=209_715_200
)
# Forms. A character of a message or a system prompt (20,000) has at most twelve bytes when it is URL-encoded.
DATA_UPLOAD_MAX_MEMORY_SIZE = 12 * (MESSAGE_MAX_CHARS + 20_000) + 64 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
# Only that of a new batch has a file. The web server limits bodies by path (chat/runtime/http_limits.py).
DATA_UPLOAD_MAX_NUMBER_FILES = 1

# Seconds between two looks at a batch of a provider; up to ten times as many for one that takes hours.
BATCH_POLL_S = 10.0

# -- calls to providers ---------------------------------------------------------------------------
# Timeouts of one call; the row of a model may set its own.
CONNECT_TIMEOUT_S = env.number("CHATSITE_CONNECT_TIMEOUT_S", 5.0, minimum=0.1, maximum=120)
FIRST_TOKEN_TIMEOUT_S = env.number("CHATSITE_FIRST_TOKEN_TIMEOUT_S", 60.0, minimum=0.1, maximum=3600)
# For an endpoint in a private network, which may have to load its model first.
FIRST_TOKEN_PRIVATE_TIMEOUT_S = FIRST_TOKEN_TIMEOUT_S if env.text("CHATSITE_FIRST_TOKEN_TIMEOUT_S") else 120.0
# For a model with a healthy fallback, unless its row sets its own.
FIRST_TOKEN_WITH_FALLBACK_TIMEOUT_S = env.number(
    "CHATSITE_FIRST_TOKEN_WITH_FALLBACK_TIMEOUT_S", 10.0, minimum=0.1, maximum=3600
)
STALL_TIMEOUT_S = env.number("CHATSITE_STALL_TIMEOUT_S", 20.0, minimum=0.1, maximum=3600)
TOTAL_TIMEOUT_S = env.number("CHATSITE_TOTAL_TIMEOUT_S", 600.0, minimum=1, maximum=86_400)
# The share of an endpoint's slots that API and bulk calls leave to users of the chat.
INTERACTIVE_SHARE = env.number("CHATSITE_INTERACTIVE_SHARE", 0.4, minimum=0, maximum=0.9)
# What happens to an answer that is interrupted after its first text; see README.
RECOVERY = env.choice("CHATSITE_RECOVERY", "complete", "continue", "keep")
# The calls of one answer, fallbacks included: this bounds its cost.
CALLS_PER_GENERATION = 8
# Each recovery bills the prompt again. A third interruption is unlikely to be a coincidence.
RECOVERIES_PER_GENERATION = 2
# Changes to the defaults of upstream.Policy and upstream.BreakerPolicy. No environment variable sets them,
# because the defaults suit every provider we know. A settings module that extends this one can.
RETRY_POLICY: dict[str, Any] = {}
BREAKER_POLICY: dict[str, Any] = {}

# -- review ---------------------------------------------------------------------------------------
# The access log itself cannot be switched off.
ACCESS_REASON_REQUIRED = env.boolean("CHATSITE_ACCESS_REASON", default=False)
ACCESS_VISIBLE_TO_USERS = env.boolean("CHATSITE_ACCESS_VISIBLE", default=False)
MASK_PERSONAL_DATA = env.boolean("CHATSITE_MASK_PERSONAL_DATA", default=False)

# -- sharing --------------------------------------------------------------------------------------
# Whether users may make links to conversations that everybody can read.
SHARING_IS_ALLOWED = env.boolean("CHATSITE_SHARING", default=True)

# -- the process ----------------------------------------------------------------------------------
DRAIN_S = env.number("CHATSITE_DRAIN_S", 10.0, minimum=0, maximum=3600)

# Every variable that was read above; chatsite/checks.py warns about others.
ENVIRONMENT_VARIABLES = frozenset(env.names)
