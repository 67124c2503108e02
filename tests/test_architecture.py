"""The layout: layers, circles, sizes, and names that mean one thing. Read from the source, nothing is run.

The layers themselves are contracts of import-linter, in pyproject.toml.
"""

import ast
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 350
FUNCTION_LINES_MAX = 45
FUNCTION_LINES_MEDIAN = 8
TOP_MODULES_MAX = 8


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def sources(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in found if "migrations" not in path.parts]


MODULES = {module_name(path): path for path in sources("chat", "chatsite")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports_of(name: str) -> Iterator[str]:
    """Yield every module that a module imports anywhere, also for type checkers only."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from chat import events` imports a module, `from chat.text import clean` a name.
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


IMPORTS = {name: set(imports_of(name)) - {name} for name in MODULES}


def functions() -> Iterator[tuple[int, str]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield (node.end_lineno or 0) - node.lineno + 1, f"{name}.{node.name}"


def test_layers():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_there_are_no_circles():
    graph = {name: {target for target in targets if target in MODULES} for name, targets in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" -> ".join(exc.args[1]), pytrace=False)


@pytest.mark.parametrize(
    ("library", "files"),
    [
        ("openai", {"chat.upstream.client", "chat.upstream.translate"}),
        # Imported only where a scale switch is on.
        ("redis", {"chat.runtime.redis_slots"}),
        ("boto3", {"chat.attachments.bucket"}),
        ("botocore", {"chat.attachments.bucket"}),
        ("celery", {"chat.runtime.task_backends.celery", "chatsite.celery"}),
    ],
)
def test_a_library_that_could_be_replaced_is_used_in_few_files(library, files):
    users = {
        name for name, targets in IMPORTS.items() if any(each.split(".")[0] == library for each in targets)
    }
    assert users == files


def test_no_file_is_long():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("chat", "chatsite", "tests", "benchmarks", "docs")
    }
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}


def test_functions_are_short():
    assert [each for each in functions() if each[0] > FUNCTION_LINES_MAX] == []
    assert statistics.median(count for count, _name in functions()) <= FUNCTION_LINES_MEDIAN


def test_few_modules_stand_at_the_top():
    top = [path for path in (ROOT / "chat").glob("*.py") if path.stem != "__init__"]
    assert len(top) <= TOP_MODULES_MAX, sorted(path.name for path in top)


def test_a_package_exports_or_is_empty():
    code = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    packages = [name for name, path in MODULES.items() if path.name == "__init__.py"]
    assert [name for name in packages if any(isinstance(node, code) for node in TREES[name].body)] == []


def test_a_class_name_means_one_thing():
    places = defaultdict(set)
    for name, tree in TREES.items():
        for node in tree.body:
            # Every management command is a `Command`.
            if isinstance(node, ast.ClassDef) and node.name != "Command":
                places[node.name.lstrip("_")].add(name)
    assert {name: sorted(found) for name, found in places.items() if len(found) > 1} == {}


def test_no_module_rebinds_its_globals():
    rebinding = {
        name for name, tree in TREES.items() if any(isinstance(node, ast.Global) for node in ast.walk(tree))
    }
    # `current_runtime()` is the one global of the program.
    assert rebinding == {"chat.runtime.process"}


def private_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in {"self", "cls", "os"} and node.attr not in PUBLIC_ALL_THE_SAME:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {owner}.{node.attr}"


# Documented attributes of Django's models and of the openai client.
PUBLIC_ALL_THE_SAME = {"_meta", "_request_id"}


def test_no_test_touches_a_private_name_of_another_module():
    assert [name for path in sources("tests", "benchmarks") for name in private_names(path)] == []
