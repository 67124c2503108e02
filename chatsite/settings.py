"""All settings, in one file. Every one that operators may change is read from the environment.

A `.env` file beside `manage.py` is read first; what is already set in the environment wins.
A value that makes no sense stops the program with a message that names the variable.
The README's configuration table is checked against this file by `tests/test_settings.py`.
"""

import contextlib
import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import dj_database_url
from django.conf.global_settings import LANGUAGES
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP
from dotenv import load_dotenv

BASE_DIR = Path(__file__).resolve().parent.parent
load_dotenv(BASE_DIR / ".env")


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in env_str(name, default).split(",") if item.strip()]


def env_bool(name: str, default: bool) -> bool:
    value = env_str(name, str(default)).lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is not a yes or a no. Write {name}=1 or {name}=0.")


def env_number[N: (int, float)](name: str, default: N, *, minimum: float, maximum: float) -> N:
    value = env_str(name)
    if not value:
        return default
    try:
        number = type(default)(value)
    except ValueError:
        number = None
    if number is None or not minimum <= number <= maximum:
        kind = "whole number" if isinstance(default, int) else "number"
        raise ImproperlyConfigured(f"{name}={value!r} is not a {kind} from {minimum:g} to {maximum:g}.")
    return number


def env_choice(name: str, default: str, *others: str) -> str:
    """Return one of the given words, in small letters."""
    value = env_str(name, default).lower()
    if value not in {default, *others}:
        raise ImproperlyConfigured(f"{name}={value!r} is none of: {', '.join((default, *others))}.")
    return value


def env_url(name: str, *schemes: str) -> str:
    value = env_str(name)
    try:
        parts = urlsplit(value)
        # Reading a port that is no number raises, too.
        has_place = bool(parts.netloc) or parts.scheme == "sqlite"
        is_usable = not value or (parts.scheme in schemes and has_place and parts.port != 0)
    except ValueError:
        is_usable = False
    if not is_usable:
        # The value is not shown: it may carry a password.
        raise ImproperlyConfigured(
            f"{name} is not a URL that starts with {' or '.join(f'{s}://' for s in schemes)}."
        )
    return value


def env_networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(item) for item in env_list(name)]
    except ValueError as exc:
        raise ImproperlyConfigured(f"{name}: {exc}. Give addresses or networks, such as 10.0.0.0/8.") from exc


def secret_key(path: Path) -> str:
    """Return the key kept in `path`, made on the first start so that sessions survive restarts."""
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and the first of two starts wins
        draft.unlink()
    return path.read_text().strip()


# Where the database, the secret key, collected static files and locks live.
DATA_DIR = Path(env_str("CHATSITE_DATA_DIR", str(BASE_DIR / "data"))).resolve()
try:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    SECRET_KEY = env_str("CHATSITE_SECRET_KEY") or secret_key(DATA_DIR / "secret_key")
except OSError as exc:
    raise ImproperlyConfigured(f"CHATSITE_DATA_DIR={str(DATA_DIR)!r} cannot be used: {exc}") from exc
DEBUG = env_bool("CHATSITE_DEBUG", default=False)

# The names people may use in the address bar. `*` would let any site name point at this server.
ALLOWED_HOSTS = env_list("CHATSITE_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
# https://chat.example.org: set when a proxy in front ends TLS.
PUBLIC_URL = env_url("CHATSITE_PUBLIC_URL", "http", "https").rstrip("/")
if PUBLIC_URL:
    ALLOWED_HOSTS.append(urlsplit(PUBLIC_URL).hostname or "")
    CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
IS_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
# The proxies whose word about client and scheme counts, see chatsite/forwarded.py.
TRUSTED_PROXIES = env_networks("CHATSITE_TRUSTED_PROXIES")
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
    "servestatic.middleware.ServeStaticMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
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
            ],
        },
    },
]

# A process whose counter stood still for this long, by the observer's own clock, is dead.
PROCESS_DEAD_AFTER_S = env_number("CHATSITE_PROCESS_DEAD_AFTER_S", 10.0, minimum=2, maximum=600)

# Scale switch 1 of 2. Empty: SQLite in DATA_DIR, which needs no other service.
DATABASE_URL = env_url("DATABASE_URL", "postgres", "postgresql", "sqlite")
if DATABASE_URL.startswith("postgres"):
    DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_health_checks=True)}
    options = DATABASES["default"].setdefault("OPTIONS", {})
    # A connection a request would be held by its thread under ASGI; the pool takes it back.
    options["pool"] = {
        "min_size": 1,
        "max_size": env_number("CHATSITE_DB_POOL_SIZE", 10, minimum=2, maximum=500),
    }
    # Who stands still in a transaction keeps its locks, and those who take its answers over would wait.
    idle_ms = round(PROCESS_DEAD_AFTER_S * 1000)
    options["options"] = (
        f"{options.get('options', '')} -c idle_in_transaction_session_timeout={idle_ms}".strip()
    )
else:
    # NORMAL survives the death of our processes; FULL survives loss of power, at about 4 ms a commit.
    SQLITE_SYNCHRONOUS = env_choice("CHATSITE_SQLITE_SYNCHRONOUS", "normal", "full")
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": dj_database_url.parse(DATABASE_URL)["NAME"]
            if DATABASE_URL
            else str(DATA_DIR / "db.sqlite3"),
            "OPTIONS": {
                # Two transactions that both read, then write, would deadlock as DEFERRED.
                "transaction_mode": "IMMEDIATE",
                "timeout": 10,
                "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={SQLITE_SYNCHRONOUS};",
            },
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Scale switch 2 of 2. Empty: one process needs no Redis.
REDIS_URL = env_url("REDIS_URL", "redis", "rediss", "unix")
# The channel layer carries small notices that may be lost, never the text of an answer.
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if not REDIS_URL
    else {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
}

HERE = "chat.runtime.task_backends.local.AsyncioBackend"
TASKS = {
    # In a worker, where there may be one.
    "default": {"BACKEND": "chat.runtime.task_backends.celery.CeleryBackend" if REDIS_URL else HERE},
    # In this very process.
    "here": {"BACKEND": HERE},
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
SESSION_COOKIE_AGE = 30 * 24 * 3600
REGISTRATION_IS_OPEN = env_bool("CHATSITE_REGISTRATION", default=False)

LANGUAGE_CODE = env_str("CHATSITE_LANGUAGE", "en")
if LANGUAGE_CODE not in dict(LANGUAGES):
    raise ImproperlyConfigured(
        f"CHATSITE_LANGUAGE={LANGUAGE_CODE!r} is not a language code, such as en or de."
    )
TIME_ZONE = env_str("CHATSITE_TIME_ZONE", "UTC")
if TIME_ZONE not in available_timezones():
    raise ImproperlyConfigured(f"CHATSITE_TIME_ZONE={TIME_ZONE!r} is not a time zone, such as Europe/Berlin.")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "chatsite.static.ModuleManifestStorage"},
}
SERVESTATIC_KEEP_ONLY_HASHED_FILES = True

LOG_LEVEL = env_choice("CHATSITE_LOG_LEVEL", "info", "debug", "warning", "error").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # Everybody else's libraries speak from WARNING up: at INFO they log every request.
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "chat": {"level": LOG_LEVEL},
        "chatsite": {"level": LOG_LEVEL},
        # A page that is not there is the visitor's business.
        "django.request": {"level": "ERROR"},
    },
}

# -- the model to talk to -------------------------------------------------------------------------
# The key itself is read from the environment where it is used; rows only name the variable.
OPENAI_BASE_URL = env_url("OPENAI_BASE_URL", "http", "https")
OPENAI_MODELS = env_list("OPENAI_MODEL")
OPENAI_IS_CONFIGURED = bool(env_str("OPENAI_API_KEY") or OPENAI_BASE_URL or OPENAI_MODELS)
EMBEDDED_MODEL_IS_WANTED = env_bool("CHATSITE_EMBEDDED_MODEL", default=not OPENAI_IS_CONFIGURED)

# -- limits ---------------------------------------------------------------------------------------
MESSAGE_MAX_CHARS = env_number("CHATSITE_MESSAGE_MAX_CHARS", 50_000, minimum=100, maximum=200_000)
# The longest message with the longest system prompt, all in characters of four bytes, fits a frame.
FRAME_MAX_BYTES = 4 * (MESSAGE_MAX_CHARS + 20_000) + 16 * 1024
ASKS_PER_MINUTE = env_number("CHATSITE_ASKS_PER_MINUTE", 30, minimum=1, maximum=100_000)
RUNNING_PER_USER = env_number("CHATSITE_RUNNING_PER_USER", 3, minimum=1, maximum=10_000)
# Of programs, by API key, and by person for all of their keys together.
RUNNING_PER_KEY = env_number("CHATSITE_RUNNING_PER_KEY", 20, minimum=1, maximum=10_000)
API_RUNNING_PER_USER = env_number("CHATSITE_API_RUNNING_PER_USER", 100, minimum=1, maximum=10_000)
ASKS_PER_MINUTE_PER_KEY = env_number("CHATSITE_ASKS_PER_MINUTE_PER_KEY", 600, minimum=1, maximum=1_000_000)
API_BODY_MAX_BYTES = env_number(
    "CHATSITE_API_BODY_MAX_BYTES", 20_971_520, minimum=1024, maximum=1_073_741_824
)
# A larger body moves to a file, in one step of the event loop: the default would be 2.5 MB.
FILE_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
ANSWER_MAX_CHARS = env_number("CHATSITE_ANSWER_MAX_CHARS", 1_000_000, minimum=1_000, maximum=100_000_000)
# A socket that has been sent this much without acknowledging it is sent no more until it does.
ACK_WINDOW_BYTES = env_number(
    "CHATSITE_ACK_WINDOW_BYTES", 1_048_576, minimum=65_536, maximum=64 * 1024 * 1024
)

# -- time-outs of one upstream call; a Model row may set its own -----------------------------------
CONNECT_TIMEOUT_S = env_number("CHATSITE_CONNECT_TIMEOUT_S", 5.0, minimum=0.1, maximum=120)
FIRST_TOKEN_TIMEOUT_S = env_number("CHATSITE_FIRST_TOKEN_TIMEOUT_S", 30.0, minimum=0.1, maximum=3600)
# For a model that has a healthy fallback, unless its row sets its own.
FIRST_TOKEN_WITH_FALLBACK_TIMEOUT_S = env_number(
    "CHATSITE_FIRST_TOKEN_WITH_FALLBACK_TIMEOUT_S", 10.0, minimum=0.1, maximum=3600
)
STALL_TIMEOUT_S = env_number("CHATSITE_STALL_TIMEOUT_S", 20.0, minimum=0.1, maximum=3600)
TOTAL_TIMEOUT_S = env_number("CHATSITE_TOTAL_TIMEOUT_S", 600.0, minimum=1, maximum=86_400)

# -- when a call fails ----------------------------------------------------------------------------
CALLS_PER_MODEL = env_number("CHATSITE_CALLS_PER_MODEL", 3, minimum=1, maximum=100)
CALLS_PER_GENERATION = env_number("CHATSITE_CALLS_PER_GENERATION", 8, minimum=1, maximum=100)
# What follows when an answer is cut after its first word; see README.
RECOVERY = env_choice("CHATSITE_RECOVERY", "complete", "continue", "keep")
RECOVERIES_PER_GENERATION = env_number("CHATSITE_RECOVERIES_PER_GENERATION", 2, minimum=0, maximum=100)
# Doubled at each retry up to the cap; the wait is a random part of it.
BACKOFF_FIRST_S = env_number("CHATSITE_BACKOFF_FIRST_S", 0.5, minimum=0, maximum=60)
BACKOFF_CAP_S = env_number("CHATSITE_BACKOFF_CAP_S", 8.0, minimum=0, maximum=600)
BACKOFF_TOTAL_S = env_number("CHATSITE_BACKOFF_TOTAL_S", 60.0, minimum=0, maximum=3600)
RETRY_AFTER_MAX_S = env_number("CHATSITE_RETRY_AFTER_MAX_S", 60.0, minimum=0, maximum=3600)
BREAKER_FAILURES_IN_A_ROW = env_number("CHATSITE_BREAKER_FAILURES_IN_A_ROW", 5, minimum=1, maximum=10_000)
BREAKER_FAILURE_PERCENT = env_number("CHATSITE_BREAKER_FAILURE_PERCENT", 50, minimum=1, maximum=100)
BREAKER_CALLS_MIN = env_number("CHATSITE_BREAKER_CALLS_MIN", 10, minimum=1, maximum=10_000)
BREAKER_WINDOW_S = env_number("CHATSITE_BREAKER_WINDOW_S", 60.0, minimum=1, maximum=3600)
BREAKER_OPEN_S = env_number("CHATSITE_BREAKER_OPEN_S", 15.0, minimum=0.1, maximum=3600)
# How many may wait for a slot of one endpoint; the slots are set on the endpoint's row.
ADMISSION_QUEUE_MAX = env_number("CHATSITE_ADMISSION_QUEUE_MAX", 500, minimum=0, maximum=100_000)
# How many bulk answers a process has in hand at a time; the rest wait in the database, in nobody's way.
BULK_RUNNING_MAX = env_number("CHATSITE_BULK_RUNNING_MAX", 200, minimum=1, maximum=100_000)

# -- the process ----------------------------------------------------------------------------------
DRAIN_S = env_number("CHATSITE_DRAIN_S", 10.0, minimum=0, maximum=3600)
# Finished answers keep their replayable log this long, for pages that are still drawing them.
LOG_KEPT_S = env_number("CHATSITE_LOG_KEPT_S", 600.0, minimum=0, maximum=30 * 86_400)
