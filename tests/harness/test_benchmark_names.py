"""`python -m benchmarks` runs every benchmark."""

from pathlib import Path

from benchmarks.__main__ import NAMES

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_every_benchmark_has_its_name_in_the_list():
    programs = {path.stem for path in FOLDER.glob("*.py") if "\ndef main()" in path.read_text()}
    assert programs - {"__main__"} == set(NAMES)
