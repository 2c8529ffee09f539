"""What the tests of the sources share: a look at what errors show, and a Secret that is mounted."""

import contextlib
import threading
import time
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


class Mount:
    """A Secret that is mounted by a kubelet: links to links to a folder that is swapped."""

    def __init__(self, path):
        self.path = path
        self.generation = 0
        path.mkdir()

    def write(self, **fields):
        """Bring a new generation as the kubelet does: by one rename, then remove the old one."""
        old = self.path / f"..2026_01_01_{self.generation}"
        self.generation += 1
        new = self.path / f"..2026_01_01_{self.generation}"
        new.mkdir()
        for name, value in fields.items():
            (new / name).write_text(value)
            with contextlib.suppress(FileExistsError):
                (self.path / name).symlink_to(Path("..data", name))
        (self.path / "..data_tmp").symlink_to(new.name)
        (self.path / "..data_tmp").replace(self.path / "..data")
        for file in old.iterdir() if old.exists() else ():
            file.unlink()
        if old.exists():
            old.rmdir()


@pytest.fixture
def mount(tmp_path):
    """Mount a Secret with client id and key."""
    mount = Mount(tmp_path / "mount")
    mount.write(client_id="acme", secret_key="old")
    return mount


@pytest.fixture
def swapped(mount):
    """Swap the mounted Secret forty times; a number tells which id and key belong together."""

    @contextlib.contextmanager
    def swapping():
        mount.write(client_id="acme-0", secret_key="key-0")
        kubelet = threading.Thread(target=swap)
        kubelet.start()
        try:
            yield mount, kubelet.is_alive
        finally:
            kubelet.join()

    def swap():
        for number in range(40):
            mount.write(client_id=f"acme-{number}", secret_key=f"key-{number}")
            time.sleep(0.005)

    return swapping
