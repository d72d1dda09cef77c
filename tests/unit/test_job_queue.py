"""The queue while there is no database, and for who does not use it."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.adapters.job_queue import JobQueue
from app.adapters.postgres import Database
from app.errors import StoreUnavailable

ROOT = Path(__file__).parents[2]


def test_a_ticket_for_a_database_that_is_away_is_refused_as_everything_else_is() -> None:
    queue = JobQueue(Database("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(StoreUnavailable, match="nothing listens there"):
        queue.defer()


def test_a_service_that_gets_no_videos_loads_nothing_of_the_queue() -> None:
    code = """
import sys
from app.bootstrap import Container
from config import Settings

Container(Settings(_env_file=None, database_url="postgresql://nobody@127.0.0.1:1/none")).videos
print(*sorted({m.split('.')[0] for m in sys.modules}))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"procrastinate", "psycopg", "ray", "boto3", "cv2"} & set(loaded.split())
