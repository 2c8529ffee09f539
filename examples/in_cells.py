# %% [markdown]
# A partner's API in a notebook: open this file in VS Code, Spyder or PyCharm, or make a notebook
# of it with jupytext. Set `PARTNER_AUTH_SOURCE` and `PARTNER_BASE_URL` where you start it.

# %%
import os

import requests

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer

# %% A partner to practise on: leave this cell out when you have a real one
partner = PartnerServer().start()
os.environ["PARTNER_BASE_URL"] = partner.url
os.environ["PARTNER_CLIENT_ID"] = partner.client_id
os.environ["PARTNER_SECRET_KEY"] = partner.secret

# %% One session for the whole notebook, however many days it stays open
base = os.environ["PARTNER_BASE_URL"]
session = requests.Session()
session.auth = auth = PartnerAuth()

# %%
answer = session.get(f"{base}/portfolio")
print(answer.status_code, answer.json())

# %% The secret is rotated, and the cells above still work
os.environ["PARTNER_SECRET_KEY"] = partner.rotate()
print(session.get(f"{base}/portfolio").status_code)

# %% How things stand: no secret and no token is in it, nor in a notebook that shows it
status = auth.status()
print(status.state, status.client_id, status.source)

# %% The end
session.close()
partner.close()
