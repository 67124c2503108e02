"""The form of a new batch."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from chat.batches import intake
from chat.models import Model
from chat.models.limits import SYSTEM_PROMPT_MAX_CHARS
from chat.views.forms import CleanedField


class BatchForm(forms.Form):
    """What is sent, and to which model. `LineSource` checks the rows."""

    file = forms.FileField(
        label=_("File"),
        required=False,
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.xlsx,.jsonl,.ndjson,.txt"}),
        help_text=_("A spreadsheet saved as CSV or XLSX, TSV, JSONL, or a text with one prompt per line."),
    )
    template = CleanedField(
        label=_("What is sent for each row"),
        required=False,
        strip=False,
        max_length=SYSTEM_PROMPT_MAX_CHARS,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto", "placeholder": "Summarise: {{text}}"}),
        help_text=_("Write the names of columns in double braces. Not needed if there is only one column."),
    )
    prompts = CleanedField(
        label=_("Or paste prompts, one per line"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "dir": "auto"}),
    )
    model = forms.ModelChoiceField(Model.objects.none(), label=_("Model"), empty_label=None)
    system_prompt = CleanedField(
        label=_("System prompt"),
        required=False,
        max_length=SYSTEM_PROMPT_MAX_CHARS,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}),
    )
    temperature = forms.FloatField(
        label=_("Temperature"),
        required=False,
        min_value=0,
        max_value=2,
        widget=forms.NumberInput(attrs={"step": 0.1, "inputmode": "decimal"}),
        help_text=_("Lower is more predictable, higher more varied. Empty: the model's default."),
    )
    schema = CleanedField(
        label=_("JSON schema of the answers"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=_("If each answer is to be a JSON object of a certain form."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Model.objects.offered()

    @property
    def basic(self) -> list[forms.BoundField]:
        return [self[name] for name in ("file", "template", "prompts", "model")]

    @property
    def further(self) -> list[forms.BoundField]:
        return [self[name] for name in ("system_prompt", "temperature", "schema")]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file is not None and file.size > intake.upload_max_bytes():
            megabytes = intake.upload_max_bytes() // 1_000_000
            raise forms.ValidationError(
                _("The file is larger than %(limit)d MB. Divide it.") % {"limit": megabytes}
            )
        return file

    def clean_schema(self) -> dict[str, Any] | None:
        source: str = self.cleaned_data["schema"]
        if not source.strip():
            return None
        try:
            value = json.loads(source)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(_("This is not valid JSON: %(error)s") % {"error": error}) from error
        if not isinstance(value, dict):
            raise forms.ValidationError(_("A schema is a JSON object."))
        return value

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the requests, as in the API."""
        found: dict[str, Any] = {}
        if self.cleaned_data["temperature"] is not None:
            found["temperature"] = self.cleaned_data["temperature"]
        if self.cleaned_data["schema"] is not None:
            schema = {"name": "answer", "schema": self.cleaned_data["schema"]}
            found["response_format"] = {"type": "json_schema", "json_schema": schema}
        return found
