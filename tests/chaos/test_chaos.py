"""Each storm in its short form. Seeded: `CHAOS_SEED=7 make test ARGS="-k chaos"` repeats a run."""

import asyncio
import os

import pytest

from tests.chaos import storms
from tests.chaos.stage import Stage
from tests.support.serving import providing, serving

SEED = int(os.environ.get("CHAOS_SEED", "1"))
DEADLINE_S = 150

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def stage(tmp_path_factory, prepared_data):
    folder = tmp_path_factory.mktemp("chaos")
    with providing(folder / "provider") as provider, serving(folder, prepared_data) as serve:
        stage = Stage(provider, serve, SEED)
        stage.open()
        yield stage


def weather(storm):
    """Run a storm; fail with what it complains of."""

    async def within_its_time():
        async with asyncio.timeout(DEADLINE_S):
            return await storm

    print(f"seed {SEED}")
    report = asyncio.run(within_its_time())
    print(report)
    assert not report.complaints, "\n".join(report.complaints[:20])
    return report


def test_what_the_provider_breaks_off_is_completed(stage):
    report = weather(storms.cuts(stage, answers=32))

    assert report.continued
    assert report.restarted


def test_a_lost_socket_loses_nothing_and_repeats_nothing(stage):
    weather(storms.drops(stage, cuts=30))


def test_a_question_that_is_sent_many_times_is_asked_once(stage):
    weather(storms.doubles(stage, asks=4))


def test_every_tab_shows_the_same_in_the_end_however_it_reads(stage):
    weather(storms.tabs(stage, people=2))


def test_a_killed_server_loses_nothing_it_acknowledged_or_showed(stage):
    weather(storms.kill(stage, kills=3))


def test_a_server_that_is_told_to_end_sends_people_away_and_hands_over(stage):
    weather(storms.term(stage, terms=1))


@pytest.mark.services
def test_a_frozen_server_that_wakes_up_writes_nothing(provider, serve, postgres_url):
    stage = Stage(provider, serve, SEED, database_url=postgres_url)
    stage.open(CHATSITE_PROCESS_DEAD_AFTER_S="2")

    weather(storms.freeze(stage, frozen_s=0))
