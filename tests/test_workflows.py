"""What the workflows may do, and to whom they lend what is needed to publish."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import partner_auth

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in FILES}
JOBS = {
    f"{name}-{job}": definition
    for name, workflow in WORKFLOWS.items()
    for job, definition in workflow["jobs"].items()
}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
PUBLISH = WORKFLOWS["release"]["jobs"]["publish"]

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@each_file
def test_an_action_is_pinned_to_a_commit_and_says_its_version(file):
    """A tag can be moved to other code by whoever takes over an action."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    pinned = re.compile(r" *- uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in lines if not pinned.fullmatch(line)] == []


@each_file
def test_no_workflow_uses_a_secret(file):
    """There is none to be stolen: publishing is by OIDC, everything else needs no rights."""
    assert "secrets" not in file.read_text(encoding="utf-8")


@each_file
def test_no_workflow_runs_what_a_stranger_wrote_with_our_rights(file):
    """Neither another's pull request nor the name of a branch becomes a command."""
    text = file.read_text(encoding="utf-8")
    assert "pull_request_target" not in text
    assert "workflow_run" not in text
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_rights_but_those_of_its_jobs(name):
    """What a job doesn't name, it hasn't."""
    assert WORKFLOWS[name]["permissions"] == {}


@pytest.mark.parametrize("job", JOBS)
def test_only_the_publishing_job_may_publish(job):
    """It alone can ask for an identity; the others read the repository and no more."""
    publishes = job == "release-publish"
    assert JOBS[job]["permissions"] == (
        {"id-token": "write"} if publishes else {"contents": "read"}
    )
    assert ("environment" in JOBS[job]) == publishes


def test_the_publishing_job_runs_nothing_of_ours():
    """No checkout, no command, no install: it fetches what was built and uploads it."""
    actions = [step.get("uses", "a command").partition("@")[0] for step in PUBLISH["steps"]]
    assert actions == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]


def test_what_is_published_was_tested_and_carries_attestations():
    """Nothing is published before the suite has passed from the same wheel."""
    assert PUBLISH["needs"] == ["build", "test"]
    assert PUBLISH["steps"][-1]["with"] == {"attestations": True}


def test_it_is_built_once():
    """One job builds; the others take its artifact."""
    jobs = WORKFLOWS["release"]["jobs"]
    builders = [
        name for name, job in jobs.items() if "make dist" in [s.get("run") for s in job["steps"]]
    ]
    assert builders == ["build"]


def test_a_checkout_leaves_no_credentials_behind():
    """The tests can't find the workflow's token in the repository's configuration."""
    checkouts = [step for step in STEPS if "checkout" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_ci_runs_what_a_clean_clone_runs():
    """The workflow defines nothing by itself."""
    commands = [step["run"] for step in WORKFLOWS["ci"]["jobs"]["all"]["steps"] if "run" in step]
    assert commands == [".ci/run"]


@pytest.mark.parametrize(
    "tag, verdict",
    [
        (f"v{partner_auth.__version__}", ""),
        (partner_auth.__version__, "pyproject.toml has version"),
        ("v99.0.0", "pyproject.toml has version"),
    ],
)
def test_a_tag_must_be_the_version(tag, verdict):
    """Else the release ends before anything is built, and says what to do."""
    script = [sys.executable, ROOT / ".ci" / "tag.py", tag]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not verdict)
    assert verdict in done.stderr
