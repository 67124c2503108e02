"""Imports point one way: the floors of docs/architecture.md, read from the source without running it."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

GROUND, VERBS, BACKGROUND, DOORS, WIRING = 1, 2, 3, 4, 5
# What lives where, by the longest name that fits. A file that is in no line here fails the test:
# give it a floor, here and in docs/architecture.md.
FLOORS = {
    "chat.events": GROUND,
    "chat.text": GROUND,
    "chat.errors": GROUND,
    "chat.websocket.frames": GROUND,
    "chat.notifications": GROUND,
    "chat.models": GROUND,
    "chat.event_log.writer": GROUND,
    "chat.event_log.log": GROUND,
    "chat.upstream": GROUND,
    "chat.rendering": GROUND,
    "chat.runtime.task_backends.local": GROUND,
    "chat.runtime.redis_slots": GROUND,
    "chat.runtime.asgi_server": GROUND,
    "chat.local_model": GROUND,
    "chat.fakeprovider": GROUND,
    "chat.generation.runner": VERBS,
    "chat.run": VERBS,
    "chat.generation.text_buffer": VERBS,
    "chat.batches.local": VERBS,
    "chat.generation.prompt": VERBS,
    "chat.generation.routing": VERBS,
    "chat.tasks": BACKGROUND,
    "chat.webhooks.delivery": BACKGROUND,
    "chat.runtime.heartbeat": BACKGROUND,
    "chat.runtime.cleanup": BACKGROUND,
    "chat.runtime.operator": BACKGROUND,
    "chat.runtime.worker": BACKGROUND,
    "chat.usage.patterns": BACKGROUND,
    "chat.websocket.consumer": DOORS,
    "chat.api": DOORS,
    "chat.views": DOORS,
    "chat.forms": DOORS,
    "chat.templatetags": DOORS,
    "chat.admin": DOORS,
    "chat.management": DOORS,
    "chat.apps": WIRING,
    "chat.urls": WIRING,
    "chat.migrations": WIRING,
    "chatsite": WIRING,
}
# Doors never import each other; a door's own form and tags are not another door.
PARTS_OF_DOORS = {"chat.forms", "chat.templatetags"}
# These know nothing of Django, of rows, of settings: they run, and are tested, without a database.
PLAIN = {
    "chat.upstream": {"chat.upstream", "chat.events", "chat.text"},
    "chat.fakeprovider": {"chat.fakeprovider"},
}


def imports_of(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield every module that is imported anywhere in `tree`, except for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = ".".join(package.split(".")[: len(package.split(".")) - level + 1]) if level else ""
                source = ".".join(filter(None, [above, module]))
                # `from chat import generations` imports a module, `from chat.text import clean` a name.
                for alias in names:
                    name = f"{source}.{alias.name}"
                    yield name if name in MODULES else source
            case _:
                yield from imports_of(node, package)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path for top in ("chat", "chatsite") for path in sorted((ROOT / top).rglob("*.py"))
}
IMPORTS = {
    name: sorted(
        set(
            imports_of(
                ast.parse(path.read_text(encoding="utf-8")),
                name if path.stem == "__init__" else name.rpartition(".")[0],
            )
        )
        - {name}
    )
    for name, path in MODULES.items()
}


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def unit_of(name: str) -> str:
    """Return the line of FLOORS that `name` belongs to, or nothing."""
    return max((unit for unit in FLOORS if is_in(name, unit)), key=len, default="")


def floor_of(name: str) -> int:
    return FLOORS[unit_of(name)]


OURS = [
    (name, target)
    for name, targets in IMPORTS.items()
    for target in targets
    if unit_of(name) and unit_of(target)
]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "chat"])
def test_every_file_has_a_floor(name):
    assert unit_of(name), f"{name} stands on no floor of tests/test_architecture.py"


def test_imports_point_down():
    upward = [f"{name} imports {target}" for name, target in OURS if floor_of(name) < floor_of(target)]
    assert upward == []


def test_doors_do_not_import_each_other():
    between = [
        f"{name} imports {target}"
        for name, target in OURS
        if floor_of(name) == floor_of(target) == DOORS
        and unit_of(name) != unit_of(target)
        and unit_of(target) not in PARTS_OF_DOORS
    ]
    assert between == []


def test_no_door_holds_a_model_stream():
    assert [name for name, target in OURS if floor_of(name) == DOORS and is_in(target, "chat.upstream")] == []


def test_frames_are_spoken_by_doors_only():
    speakers = {name for name, target in OURS if is_in(target, "chat.websocket.frames")}
    assert {name for name in speakers if floor_of(name) < DOORS} == set()


def test_notices_are_sent_by_those_who_change_things():
    senders = {name for name, target in OURS if is_in(target, "chat.notifications")}
    assert {name for name in senders if floor_of(name) < VERBS} == set()


def test_the_fake_provider_is_started_by_its_command_only():
    users = {name for name, target in OURS if is_in(target, "chat.fakeprovider")}
    assert {name for name in users if not is_in(name, "chat.fakeprovider", "chat.management")} == set()


@pytest.mark.parametrize("plain", PLAIN)
def test_what_is_plain_asyncio_knows_neither_django_nor_rows(plain):
    foreign = [
        f"{name} imports {target}"
        for name, targets in IMPORTS.items()
        if is_in(name, plain)
        for target in targets
        if is_in(target, "django", "channels", "chatsite")
        or (is_in(target, "chat") and not is_in(target, *PLAIN[plain]))
    ]
    assert foreign == []


@pytest.mark.parametrize(
    ("library", "most", "where"),
    [
        ("openai", 2, "chat.upstream"),
        # Imported only where a scale switch is on.
        ("redis", 2, ""),
        ("celery", 2, ""),
    ],
)
def test_a_library_that_could_be_replaced_is_known_in_few_files(library, most, where):
    users = [name for name, targets in IMPORTS.items() if any(is_in(target, library) for target in targets)]
    assert len(users) <= most, users
    assert not where or all(is_in(user, where) for user in users)


def test_there_are_no_circles():
    graph = {name: {target for target in targets if target in MODULES} for name, targets in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" -> ".join(exc.args[1]), pytrace=False)
