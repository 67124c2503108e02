"""`manage.py patterns`, against a fake provider: what it measures, what it costs, and what it asks first."""

import itertools
import json
import re

import pytest

from tests.support.commands import on_a_terminal, run
from tests.support.programs import until
from tests.support.provider_control import requests_of

PRICES = "Model.objects.update(input_usd_per_million={0}, output_usd_per_million={0})"


@pytest.fixture
def site(serve, provider):
    return serve(
        provider.env_for_server | {"OPENAI_MODEL": "fake-rate-200,fake-status-401,fake-first-s-60"},
        is_started=False,
    )


def set_prices(site, usd_per_million):
    seed = (
        "from chat.models import Model; from chat.models.environment import seed_from_environment as s; s(); "
    )
    site.shell(seed + PRICES.format(usd_per_million))


def requests(provider):
    return requests_of(provider)


def most_at_once(site, pattern):
    """Return how many answers of a pattern were asked for and not final at the same time, at most."""
    code = f"""
import json
from chat.models import Generation
rows = Generation.objects.filter(client_id__startswith="patterns-{pattern}-")
times = [(row.created_at.timestamp(), row.finished_at.timestamp()) for row in rows]
print(json.dumps(times))
"""
    times = json.loads(site.shell(code))
    changes = sorted([(began, 1) for began, _ended in times] + [(ended, -1) for _began, ended in times])
    return max(itertools.accumulate(change for _when, change in changes))


def test_the_table_shows_three_measured_rows_and_a_place_for_batch(site):
    done = run(site.env, "patterns", "--prompts", "2", "--yes")

    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    for name in ("sync", "async", "streaming"):
        assert len(re.findall(r"\d\.\d\d\*", lines[name])) == 6, lines[name]
        assert "unknown (no prices)" in lines[name]
        assert "0 of 2*" in lines[name]
    assert "no records yet" in lines["batch"]
    assert "6 calls" in done.stderr


def test_json_has_the_figures_and_async_keeps_to_its_concurrency(site):
    set_prices(site, 1)
    done = run(
        site.env, "patterns", "--prompts", "6", "--yes", "--json", "--concurrency", "2", deadline_s=120
    )

    sync, asynchronous, streaming, batch = json.loads(done.stdout)["patterns"]
    assert sync["measured"]["first_median_s"] == sync["measured"]["end_median_s"]
    assert streaming["measured"]["first_p95_s"] < streaming["measured"]["end_median_s"]
    assert all(each["measured"]["cost_usd"] > 0 for each in (sync, asynchronous, streaming))
    assert batch["measured"] is None
    assert [most_at_once(site, name) for name in ("sync", "async", "streaming")] == [1, 2, 1]


def test_failures_are_counted_and_shown(site):
    done = run(site.env, "patterns", "--prompts", "2", "--yes", "--model", "fake-status-401")

    assert done.returncode == 5
    assert done.stdout.count("2 of 2*") == 3
    assert "Traceback" not in done.stderr


def test_without_a_yes_nothing_is_asked_that_may_cost_something(site, provider):
    set_prices(site, 10)

    done = run(site.env, "patterns", "--prompts", "1")

    assert done.returncode == 2
    assert re.search(r"cost at most \$0\.00\d+", done.stderr)
    assert "Say --yes" in done.stderr
    with on_a_terminal(site.env, "patterns", "--prompts", "1") as terminal:
        terminal.wait_for("Go on")
        terminal.press("n\n")
        assert terminal.end() == 2
    assert requests(provider) == []


def test_what_costs_nothing_is_not_asked_about(site):
    set_prices(site, 0)

    assert run(site.env, "patterns", "--prompts", "1").returncode == 0


def test_a_number_of_prompts_that_makes_no_sense_is_refused(site):
    done = run(site.env, "patterns", "--prompts", "0")

    assert done.returncode == 2
    assert "from 1 to 1000" in done.stderr


def test_ctrl_c_stops_all_that_was_asked(site, provider):
    arguments = ("patterns", "--prompts", "1", "--yes", "--model", "fake-first-s-60")
    with on_a_terminal(site.env, *arguments) as terminal:
        until(lambda: requests(provider), "the first call")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    statuses = "from chat.models import Generation as G; print(*G.objects.values_list('status', flat=True))"
    assert site.shell(statuses) == "stopped"
    assert [each["outcome"] for each in requests(provider)] == ["left"]
