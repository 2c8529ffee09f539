"""As the partner's guide shows it; only where the two values come from and where it goes is ours."""

import os
import time

import jwt

client_id = os.environ["CLIENT_ID"]
secret = os.environ["SECRET_KEY"]

now = int(time.time())
token = jwt.encode(
    {"clientId": client_id, "iat": now, "exp": now + 15 * 60}, secret, algorithm="HS256"
)

print(token, end="")
