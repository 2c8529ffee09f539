"""Celery: made once, before the pool forks; each of its processes begins with what was read.

PARTNER_AUTH_SOURCE says where the secret is, PARTNER_BASE_URL where the partner is. Start it with
`celery -A celery_tasks worker`.
"""

import os
from typing import Any

import requests
from celery import Celery
from celery.signals import worker_init

from partner_auth import PartnerAuth

app = Celery("celery_tasks", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
auth = PartnerAuth()  # holds no thread and no lock, so a fork at any time is safe


@worker_init.connect
def read_once(**_: Any) -> None:
    """Read the store in the parent; without this each child reads at its first task."""
    auth.token()


# A store out of reach is a requests.ConnectionError too, and so are a broken connection's.
@app.task(autoretry_for=(requests.ConnectionError, requests.Timeout), retry_backoff=True)
def portfolio() -> Any:
    """Fetch what the partner has."""
    url = f"{os.environ['PARTNER_BASE_URL']}/portfolio"
    answer = requests.get(url, auth=auth, timeout=10)
    answer.raise_for_status()
    return answer.json()
