"""The plug-in for HTTPie, found by its entry point: `http --auth-type partner …`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from httpie.plugins import AuthPlugin

from partner_auth.exceptions import ConfigurationError

if TYPE_CHECKING:
    from partner_auth.requests import PartnerAuth


class PartnerPlugin(AuthPlugin):  # type: ignore[misc]  # HTTPie ships no types
    """Sign what HTTPie sends; `-a` may carry a source URL, never a secret."""

    name = "partner_auth"
    auth_type = "partner"
    description = "Signs for a partner API; -a may be a source URL, such as vault://secret/partner"
    auth_require = False
    auth_parse = False  # a source URL has a colon, and is no user:password
    prompt_password = False
    raw_auth: str | None = None

    def get_auth(self, username: object = None, password: object = None) -> PartnerAuth:
        """Return what signs, with the source of `-a`, or else that of the environment."""
        del username, password  # HTTPie's signature; `auth_parse` says that there are none
        from partner_auth.requests import PartnerAuth

        # HTTPie shows each error itself; without a handler Python would write our log beside it.
        logging.getLogger("partner_auth").addHandler(logging.NullHandler())
        try:
            return PartnerAuth(self.raw_auth or None)
        except ConfigurationError as error:
            sys.stderr.write(f"http: error: {error}\n")
        sys.exit(1)  # else HTTPie shows a traceback, for it is still reading its arguments
