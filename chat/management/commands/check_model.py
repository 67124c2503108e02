"""`manage.py check_model NAME`: whether a model can answer, and what it accepts."""

from __future__ import annotations

import json
import sys
from difflib import get_close_matches
from typing import Any, NoReturn

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from chat.management.exits import Exit, exit_of_failure
from chat.model_check.check import DEFAULT_LIMIT_S, check_model
from chat.models import Model


class Command(BaseCommand):
    help = (
        "Check a model: address, key, name, streaming, refused parameters, prefill, tools, images, context "
        "and speed. Makes up to ten short calls, and writes what it found to the model's row."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the model's name, or ENDPOINT/NAME")
        parser.add_argument("--json", dest="is_json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--timeout",
            type=float,
            default=DEFAULT_LIMIT_S,
            metavar="SECONDS",
            help="end the check after this time (default: %(default)g)",
        )

    def handle(self, *, name: str, is_json: bool, timeout: float, **_: Any) -> NoReturn:
        if not 0 < timeout <= 3600:
            raise CommandError("--timeout must be above 0 and at most 3600.", returncode=Exit.USAGE)
        try:
            report = check_model(_find(name), limit_s=timeout)
        except KeyboardInterrupt:
            sys.exit(Exit.CTRL_C)
        except DatabaseError as error:
            message = f"The database cannot be used: {str(error).strip()}"
            raise CommandError(message, returncode=Exit.FAULT) from error
        text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) if is_json else report.as_text()
        self.stdout.write(text)
        sys.exit(exit_of_failure(report.code) if report.code else Exit.COMPLETE)


def _find(name: str) -> Model:
    """Return the model with this name or full name, an enabled one first; it need not be enabled."""
    rows = list(
        Model.objects.select_related("endpoint").order_by("-is_enabled", "-endpoint__is_enabled", "pk")
    )
    by_full_name = (model for model in rows if model.full_name == name)
    model = next((model for model in rows if model.name == name), next(by_full_name, None))
    if model is None:
        similar = get_close_matches(name, [model.name for model in rows], n=1)
        advice = f"Did you mean {similar[0]!r}?" if similar else "The admin lists all models."
        raise CommandError(f"There is no model {name!r}. {advice}", returncode=Exit.REFUSED)
    return model
