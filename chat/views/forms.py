"""Forms of the chat page."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from chat.models import Conversation, Model
from chat.text import clean


class CleanedField(forms.CharField):
    """A text without what cannot be stored; a plain CharField would refuse the whole form for a NUL."""

    def to_python(self, value: Any) -> str:
        return clean(super().to_python(value) or "")


class UUIDListField(forms.Field):
    """The UUIDs among the values of fields with the same name."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[uuid.UUID]:
        try:
            return [uuid.UUID(each) for each in value or ()]
        except ValueError as error:
            raise forms.ValidationError(_("This is not an id.")) from error


class ModelMenuForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A form whose field `model` offers what users can choose. `no_model`: what it says for none."""

    no_model = _("Default model")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Model.objects.offered()
        field.empty_label = str(self.no_model)


class AskForm(forms.Form):
    """The composer without JavaScript. Conversation.ask checks the text itself."""

    text = CleanedField(required=False, strip=False)
    # Set by the button of an example prompt.
    example = CleanedField(required=False)
    client_id = forms.CharField(max_length=64)
    conversation = forms.UUIDField(required=False)
    # An edit sends the parent of the edited message; empty if that was the first message.
    is_edit = forms.BooleanField(required=False)
    parent = forms.IntegerField(required=False, min_value=1)
    model = forms.IntegerField(required=False, min_value=1)
    # Further models that answer the same message, side by side.
    compare = forms.ModelMultipleChoiceField(Model.objects.offered(), required=False)
    project = forms.IntegerField(required=False, min_value=1)
    temporary = forms.BooleanField(required=False)
    later = forms.BooleanField(required=False)
    # Those of an edited message.
    attachment = UUIDListField(required=False)
    # Only for a new conversation.
    system_prompt = CleanedField(required=False, strip=False)
    temperature = forms.FloatField(required=False)

    def clean_text(self) -> str:
        # Browsers submit line breaks as CR LF; messages are stored with LF.
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")


class RenameForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = Conversation
        fields = ["title"]
        field_classes = {"title": CleanedField}
        widgets = {"title": forms.TextInput(attrs={"autocomplete": "off", "maxlength": 200})}

    def clean_title(self) -> str:
        title = " ".join(self.cleaned_data["title"].split())
        if not title:
            raise forms.ValidationError(_("Enter a title."))
        return title


class NewSettingsForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Settings of a new conversation. Its fields belong to the composer's form."""

    class Meta:
        model = Conversation
        fields = ["system_prompt", "temperature"]
        field_classes = {"system_prompt": CleanedField}
        labels = {"model": _("Model"), "system_prompt": _("System prompt"), "temperature": _("Temperature")}
        help_texts = {
            "system_prompt": _("Sent to the model with every message of this conversation."),
            "temperature": _("Lower is more predictable, higher more varied. Empty: the model's default."),
        }
        widgets = {
            "system_prompt": forms.Textarea(attrs={"rows": 6, "dir": "auto"}),
            "temperature": forms.NumberInput(attrs={"min": 0, "max": 2, "step": 0.1, "inputmode": "decimal"}),
        }

    form_id = "composer"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        if self.form_id:
            for field in self.fields.values():
                field.widget.attrs["form"] = self.form_id

    def clean_system_prompt(self) -> str:
        prompt: str = self.cleaned_data["system_prompt"]
        return prompt.replace("\r\n", "\n").strip()


class ConfigureForm(NewSettingsForm):
    """Settings of an existing conversation."""

    class Meta(NewSettingsForm.Meta):
        fields = ["model", "system_prompt", "temperature"]

    form_id = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Model.objects.offered()
        field.empty_label = str(_("Default model"))
