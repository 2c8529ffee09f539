"""FastAPI with httpx: warm before the first request, and a readiness probe that does no I/O.

PARTNER_AUTH_SOURCE says where the secret is, PARTNER_BASE_URL where the partner is. Start it with
`uvicorn fastapi_service:app`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response

from partner_auth import PartnerAuth

auth = PartnerAuth()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Read the store, or fail and say why; then keep one client for all requests."""
    await auth.atoken()
    async with httpx.AsyncClient(auth=auth, base_url=os.environ["PARTNER_BASE_URL"]) as partner:
        yield {"partner": partner}


app = FastAPI(lifespan=lifespan)


@app.get("/portfolio")
async def portfolio(request: Request) -> Any:
    """Hand on what the partner has."""
    answer = await request.state.partner.get("/portfolio")
    return answer.raise_for_status().json()


@app.get("/ready")
async def ready(response: Response) -> dict[str, str]:
    """Tell the load balancer whether a request could be signed."""
    state = auth.status().state
    if state == "empty":  # whoever isn't ready gets no request that would have the store read
        auth.refresh(wait=False)
        response.status_code = 503
    return {"state": state}
