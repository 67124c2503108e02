"""What a new conversation starts with: the settings of the user, of a project or of a preset."""

from __future__ import annotations

from dataclasses import dataclass

from chat.models import Preferences, Preset, Project
from chat.views.access import AuthenticatedRequest
from chat.views.forms import NewSettingsForm
from chat.views.transcript import number_from

# So many are offered on the page of a new conversation; the library has the others.
PRESETS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Start:
    """`presets`: those to choose from. A project or preset that was named and exists is set."""

    model_id: int | None
    system_prompt: str
    temperature: float | None
    project: Project | None
    preset: Preset | None
    presets: list[Preset]

    @classmethod
    def of(cls, request: AuthenticatedRequest, preferences: Preferences) -> Start:
        """Return what the query string names with `project=` and `preset=`, over the user's settings."""
        usable = Preset.objects.usable_by(request.user)
        preset_id = number_from(request.GET, "preset")
        preset = usable.filter(pk=preset_id).first() if preset_id else None
        own = Project.objects.of(request.user)
        project_id = number_from(request.GET, "project") or number_from(request.POST, "project")
        project = own.filter(pk=project_id).first() if project_id else None
        return cls(
            model_id=(preset and preset.model_id) or (project and project.model_id) or preferences.model_id,
            system_prompt=preset.system_prompt
            if preset
            else (project and project.instructions) or preferences.instructions,
            temperature=preset.temperature if preset else None,
            project=project,
            preset=preset,
            presets=list(usable[:PRESETS_SHOWN]),
        )

    def form(self) -> NewSettingsForm:
        """Return the form of a new conversation's settings."""
        return new_settings(self.system_prompt, self.temperature)


def new_settings(system_prompt: str, temperature: float | None) -> NewSettingsForm:
    initial = {"system_prompt": system_prompt, "temperature": temperature}
    return NewSettingsForm(initial=initial, auto_id="new_%s")
