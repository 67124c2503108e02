"""What people fill in on the chat page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from chat.models import Conversation, Model
from chat.text import clean


class AskForm(forms.Form):
    """The composer without JavaScript. Whether the text will do is for Conversation.ask to say."""

    text = forms.CharField(required=False, strip=False)
    # The button of an example prompt on the empty page.
    example = forms.CharField(required=False)
    client_id = forms.CharField(max_length=64)
    conversation = forms.UUIDField(required=False)
    # An edit names the parent of the edited message; none: it was the first one.
    is_edit = forms.BooleanField(required=False)
    parent = forms.IntegerField(required=False, min_value=1)
    model = forms.IntegerField(required=False, min_value=1)
    # Of a conversation that begins.
    system_prompt = forms.CharField(required=False, strip=False)
    temperature = forms.FloatField(required=False)

    def clean_text(self) -> str:
        # Forms send line ends as CR LF; everything else here has LF.
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")


class RenameForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = Conversation
        fields = ["title"]
        widgets = {"title": forms.TextInput(attrs={"autocomplete": "off", "maxlength": 200})}

    def clean_title(self) -> str:
        title = " ".join(clean(self.cleaned_data["title"]).split())
        if not title:
            raise forms.ValidationError(_("Enter a title."))
        return title


class NewSettingsForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Settings of a conversation that has not begun; its fields are part of the composer's form."""

    class Meta:
        model = Conversation
        fields = ["system_prompt", "temperature"]
        labels = {"model": _("Model"), "system_prompt": _("System prompt"), "temperature": _("Temperature")}
        help_texts = {
            "system_prompt": _("Sent to the model before every message."),
            "temperature": _("0 is most deterministic, 2 most random. Empty: the provider's default."),
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
        return clean(self.cleaned_data["system_prompt"]).replace("\r\n", "\n").strip()


class ConfigureForm(NewSettingsForm):
    """Settings of a conversation."""

    class Meta(NewSettingsForm.Meta):
        fields = ["model", "system_prompt", "temperature"]

    form_id = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Model.objects.offered()
        field.empty_label = str(_("Default model"))
