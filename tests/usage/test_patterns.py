"""`manage.py patterns` with a fake provider: measurements, costs, and the confirmation."""

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


def concurrency_of(site, pattern):
    """Return the maximum number of answers of a pattern that ran at the same time."""
    code = f"""
import json
from chat.models import Generation
rows = Generation.objects.filter(client_id__startswith="patterns-{pattern}-")
times = [(row.created_at.timestamp(), row.finished_at.timestamp()) for row in rows]
print(json.dumps(times))
"""
    times = json.loads(site.query(code))
    changes = sorted([(start, 1) for start, _end in times] + [(end, -1) for _start, end in times])
    return max(itertools.accumulate(change for _when, change in changes))


def test_the_table_shows_three_measured_patterns_and_batch(site):
    done = run(site.env, "patterns", "--prompts", "2", "--yes")

    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    for name in ("sync", "async", "streaming"):
        assert len(re.findall(r"\d\.\d\d\*", lines[name])) == 6, lines[name]
        assert "unknown (no prices)" in lines[name]
        assert "0 of 2*" in lines[name]
    assert "no data yet" in lines["batch"]
    assert "6 calls" in done.stderr


def test_json_has_the_measurements_and_async_keeps_to_its_concurrency(site):
    set_prices(site, 1)
    done = run(
        site.env, "patterns", "--prompts", "6", "--yes", "--json", "--concurrency", "2", deadline_s=120
    )

    sync, asynchronous, streaming, batch = json.loads(done.stdout)["patterns"]
    assert sync["measured"]["first_median_s"] == sync["measured"]["end_median_s"]
    assert streaming["measured"]["first_p95_s"] < streaming["measured"]["end_median_s"]
    assert all(row["measured"]["cost_usd"] > 0 for row in (sync, asynchronous, streaming))
    assert batch["measured"] is None
    assert [concurrency_of(site, name) for name in ("sync", "async", "streaming")] == [1, 2, 1]


def test_failures_are_counted_and_shown(site):
    done = run(site.env, "patterns", "--prompts", "2", "--yes", "--model", "fake-status-401")

    assert done.returncode == 5
    assert done.stdout.count("2 of 2*") == 3
    assert "Traceback" not in done.stderr


def test_without_confirmation_no_call_is_made_that_may_cost_something(site, provider):
    set_prices(site, 10)

    done = run(site.env, "patterns", "--prompts", "1")

    assert done.returncode == 2
    assert re.search(r"cost at most \$0\.00\d+", done.stderr)
    assert "Confirm with --yes" in done.stderr
    with on_a_terminal(site.env, "patterns", "--prompts", "1") as terminal:
        terminal.wait_for("Continue")
        terminal.press("n\n")
        assert terminal.end() == 2
    assert requests(provider) == []


def test_without_costs_no_confirmation_is_needed(site):
    set_prices(site, 0)

    assert run(site.env, "patterns", "--prompts", "1").returncode == 0


def test_an_invalid_number_of_prompts_is_refused(site):
    done = run(site.env, "patterns", "--prompts", "0")

    assert done.returncode == 2
    assert "from 1 to 1000" in done.stderr


def test_ctrl_c_stops_all_answers(site, provider):
    arguments = ("patterns", "--prompts", "1", "--yes", "--model", "fake-first-s-60")
    with on_a_terminal(site.env, *arguments) as terminal:
        until(lambda: requests(provider), "the first call")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    statuses = "from chat.models import Generation as G; print(*G.objects.values_list('status', flat=True))"
    assert site.query(statuses) == "stopped"
    assert [request["outcome"] for request in requests(provider)] == ["left"]
