"""Django with requests, in one file: one object for all threads of the process.

PARTNER_AUTH_SOURCE says where the secret is, PARTNER_BASE_URL where the partner is. Start it with
`python django_service.py runserver`, or `gunicorn django_service:application`.
"""

import os
import sys

import requests
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from partner_auth import PartnerAuth

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"])
auth = PartnerAuth()  # in a project of several files this stands in settings.py or an app's module


def portfolio(request: HttpRequest) -> JsonResponse:
    """Hand on what the partner has."""
    url = f"{os.environ['PARTNER_BASE_URL']}/portfolio"
    answer = requests.get(url, auth=auth, timeout=10)  # or a Session for each thread
    answer.raise_for_status()
    return JsonResponse(answer.json(), safe=False)


def ready(request: HttpRequest) -> JsonResponse:
    """Tell the load balancer whether a request could be signed."""
    state = auth.status().state
    if state == "empty":  # whoever isn't ready gets no request that would have the store read
        auth.refresh(wait=False)
    return JsonResponse({"state": state}, status=503 if state == "empty" else 200)


urlpatterns = [path("portfolio", portfolio), path("ready", ready)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
