"""Each scenario at a small size. `CHAOS_SEED=7 make test ARGS="-k chaos"` repeats a run."""

import asyncio
import os

import pytest

from tests.chaos import scenarios
from tests.chaos.bulk import bulk
from tests.chaos.environment import Environment
from tests.chaos.files import files
from tests.support.serving import providing, serving

SEED = int(os.environ.get("CHAOS_SEED", "1"))
DEADLINE_S = 150

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def environment(tmp_path_factory, prepared_data):
    folder = tmp_path_factory.mktemp("chaos")
    with providing(folder / "provider") as provider, serving(folder, prepared_data) as serve:
        environment = Environment(provider, serve, SEED)
        environment.open()
        yield environment


def run(scenario):
    """Run a scenario, and fail the test with its failures."""

    async def with_deadline():
        async with asyncio.timeout(DEADLINE_S):
            return await scenario

    print(f"seed {SEED}")
    report = asyncio.run(with_deadline())
    print(report)
    assert not report.failures, "\n".join(report.failures[:20])
    return report


def test_a_stream_that_the_provider_breaks_is_completed(environment):
    report = run(scenarios.cuts(environment, answers=32))

    assert report.continued
    assert report.restarted


def test_a_lost_socket_loses_nothing_and_repeats_nothing(environment):
    run(scenarios.drops(environment, cuts=30))


@pytest.mark.thorough
def test_a_question_that_is_sent_many_times_is_asked_once(environment):
    run(scenarios.doubles(environment, asks=4))


@pytest.mark.thorough
def test_fast_slow_and_silent_tabs_show_the_same_text_at_the_end(environment):
    run(scenarios.tabs(environment, users=2))


def test_a_killed_server_loses_nothing_it_acknowledged_or_showed(environment):
    run(scenarios.kill(environment, kills=3))


def test_a_terminated_server_closes_its_sockets_and_hands_its_answers_over(environment):
    run(scenarios.term(environment, terms=1))


def test_a_killed_server_loses_no_file_that_it_acknowledged_and_imports_nothing_twice(environment):
    run(files(environment, kills=3))


@pytest.mark.thorough
@pytest.mark.services
def test_a_frozen_server_writes_nothing_after_it_resumes(provider, serve, postgres_url):
    environment = Environment(provider, serve, SEED, database_url=postgres_url)
    environment.open(CHATSITE_PROCESS_DEAD_AFTER_S="2")

    run(scenarios.freeze(environment, frozen_s=0))


def test_rows_of_a_batch_are_answered_once_beside_chats_though_their_server_is_killed(environment):
    run(bulk(environment, 60))
