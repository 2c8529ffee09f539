"""requests takes the object wherever it takes an auth."""

from __future__ import annotations

import requests
import requests.auth

import partner_auth.requests
from partner_auth import PartnerAuth

session = requests.Session()
session.auth = PartnerAuth("env://", origins="https://api.partner.example")
session.auth = partner_auth.requests.PartnerAuth("env://")
answer: requests.Response = session.get("https://api.partner.example/portfolio")

requests.get("https://api.partner.example", auth=PartnerAuth(), timeout=10)
requests.post("https://api.partner.example", auth=partner_auth.requests.PartnerAuth(), timeout=10)

base: requests.auth.AuthBase = partner_auth.requests.PartnerAuth()
common: PartnerAuth = partner_auth.requests.PartnerAuth()
