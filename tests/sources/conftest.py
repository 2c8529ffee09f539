"""What the tests of the sources share: an error that is looked at for what it shows."""

import traceback
from pathlib import Path

import pytest

import partner_auth

PACKAGE = str(Path(partner_auth.__file__).parent)


def shown_by(error):
    """Return all that a log or a crash reporter could take from an error and our frames."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in report.stack if frame.filename.startswith(PACKAGE)]
    return "\n".join([str(error), repr(error), *(repr(frame.locals) for frame in ours)])


@pytest.fixture(scope="session")
def refusal():
    """Call something that is refused: the error, which shows none of the secrets, comes back."""

    def refusal(kind, call, *secrets):
        with pytest.raises(partner_auth.exceptions.PartnerAuthError) as caught:
            call()
        error = caught.value
        assert type(error) is kind, error
        assert error.__context__ is None
        assert not [secret for secret in secrets if secret in shown_by(error)]
        return error

    return refusal
