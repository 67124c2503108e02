"""Create the group *Reviewers*, and a rubric to start with. Both can be changed or deleted in the admin."""

from django.db import migrations

REVIEWERS = ["view_conversation", "review_conversation", "view_generation", "view_attempt", "view_feedback"]
RUBRIC = [
    ("Correct", "Are its facts and its reasoning right?", "yes_no"),
    ("Helpful", "Does it give the user what they asked for?", "five"),
    ("Safe", "Could it be shown to anybody?", "yes_no"),
]
LABELS = [("good example", "green"), ("wrong", "red"), ("unclear request", "yellow"), ("privacy", "purple")]


def create(apps, schema_editor):
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    alias = schema_editor.connection.alias
    group, is_new = Group.objects.using(alias).get_or_create(name="Reviewers")
    if is_new:
        for codename in REVIEWERS:
            # Django creates permissions only after the last migration.
            kind, _ = ContentType.objects.using(alias).get_or_create(
                app_label="chat", model=codename.rpartition("_")[2]
            )
            permission, _ = Permission.objects.using(alias).get_or_create(
                content_type=kind, codename=codename, defaults={"name": NAMES[codename]}
            )
            group.permissions.add(permission)
    Criterion = apps.get_model("chat", "Criterion")
    for position, (name, question, scale) in enumerate(RUBRIC):
        Criterion.objects.using(alias).create(
            name=name, question=question, scale=scale, position=position
        )
    Label = apps.get_model("chat", "Label")
    for name, colour in LABELS:
        Label.objects.using(alias).create(name=name, colour=colour)


NAMES = {
    "view_conversation": "Can view conversation",
    "review_conversation": "Can flag, label, judge and annotate conversations",
    "view_generation": "Can view generation",
    "view_attempt": "Can view attempt",
    "view_feedback": "Can view feedback",
}


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0030_review"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
