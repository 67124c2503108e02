import pytest

from chat.event_log.log import EventLog
from chat.event_log.writer import ThreadWriter


@pytest.fixture
def log(db):
    log = EventLog(ThreadWriter())
    yield log
    log.writer.close()
