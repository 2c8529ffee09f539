"""`partner-auth doctor`: packages, variables, source, URL, proxy; and the report itself."""

from __future__ import annotations

import importlib.metadata
import sys
import types

import pytest

from partner_auth.cli import _check_setup


def test_all_is_well(run, configured):
    """Each check is named, and none has anything to say against it."""
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    assert done.out.rstrip().endswith("All is well.")
    names = [line.split()[1] for line in done.out.splitlines() if line.startswith("ok ")]
    assert names == [
        "packages",
        "PyJWT",
        "environment",
        "source",
        "read",
        "token",
        "version",
        "alternates",
        "URL",
        "proxy",
        "connection",
        "clock",
        "answer",
        "key",
    ]


def test_a_failure_is_exit_code_1_and_says_what_to_do_first(run):
    """The last line is what the engineer reads first."""
    done = run("doctor")
    assert done.code == 1
    assert "failure  read" in done.out
    assert "1 failure and 1 warning. What to do first: set one of these." in done.out


def test_warnings_alone_are_exit_code_0(doctor, configured, monkeypatch):
    """A script goes on; a person is told."""
    monkeypatch.delenv("PARTNER_BASE_URL")
    report = doctor()
    assert (report.code, report.json["ok"]) == (0, True)
    assert report.status("URL") == "warning"
    assert report.json["next"].startswith("give --url")


def test_the_report_is_80_columns_wide(run, configured):
    """Also in a pipe."""
    assert all(len(line) <= 80 for line in run("doctor").out.splitlines())


def test_a_check_that_breaks_off_does_not_hide_the_others(doctor, configured, monkeypatch):
    """It is a failure that names the kind of error alone."""

    def broken(_case):
        raise RuntimeError(configured.secret)

    monkeypatch.setattr(_check_setup, "environment", broken)
    report = doctor()
    assert report["broken"]["reason"] == "this check broke off (RuntimeError)"
    assert report.status("answer") == "ok"


def test_versions_and_clients_are_named(doctor, configured):
    """Whoever helps asks for these first."""
    reason = doctor()["packages"]["reason"]
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in reason
    assert f"requests {importlib.metadata.version('requests')}" in reason


def test_a_package_in_the_place_of_pyjwt_is_a_failure(doctor, configured, monkeypatch):
    """`import jwt` works, and it is another package."""
    monkeypatch.setitem(sys.modules, "jwt", types.ModuleType("jwt"))
    report = doctor()
    assert report.code == 1
    assert report.status("PyJWT") == "failure"


def test_a_package_beside_pyjwt_is_a_warning(doctor, configured, tmp_path, monkeypatch):
    """Whichever was installed last has overwritten files of the other."""
    info = tmp_path / "jwt-1.3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jwt\nVersion: 1.3.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor().status("PyJWT") == "warning"


@pytest.mark.parametrize(
    "written, meant",
    [
        ("PARTNER_SECRET", "PARTNER_SECRET_KEY"),
        ("PARTNER_CLIENTID", "PARTNER_CLIENT_ID"),
        ("PARTNER_API_URL", "PARTNER_BASE_URL"),
        ("PARTNER_AUTH_SOURCES", "PARTNER_AUTH_SOURCE"),
    ],
)
def test_a_misspelt_variable_is_recognised(doctor, monkeypatch, written, meant):
    """Its name is shown, its value is not."""
    monkeypatch.setenv(written, "hunter2-hunter2")
    report = doctor()
    remedies = [check["remedy"] for check in report.checks if check["check"] == "environment"]
    assert f"rename it to {meant}, if that is meant" in remedies
    assert "hunter2" not in str(report.json)


def test_a_variable_s_name_is_printed_and_not_obeyed(run, monkeypatch):
    """Whoever set it may have meant the terminal."""
    monkeypatch.setenv("PARTNER_CLIENT_\x1b[2JID", "acme")
    out = run("doctor").out
    assert "PARTNER_CLIENT_ [2JID is set" in " ".join(out.split())
    assert "\x1b" not in out


def test_a_variable_of_someone_else_is_left_alone(doctor, configured, monkeypatch):
    """`PARTNER_NAME` is nobody's mistake."""
    monkeypatch.setenv("PARTNER_NAME", "ACME")
    assert doctor().status("environment") == "ok"


def test_variables_that_another_source_hides_are_a_warning(doctor, configured, monkeypatch):
    """Whoever sets both expects the other one to win."""
    monkeypatch.setenv("PARTNER_AUTH_SOURCE", "env://OTHER_")
    assert doctor().status("environment") == "ok"
    monkeypatch.setenv("PARTNER_AUTH_SOURCE", "file:///nowhere/partner.json")
    report = doctor()
    assert "PARTNER_CLIENT_ID, PARTNER_SECRET_KEY: not used" in report["environment"]["reason"]


def test_the_source_is_named_and_whence_it_was_taken(doctor, configured, monkeypatch):
    """Option, variable or the credential's own variables."""
    assert doctor()["source"]["reason"] == "of the environment: EnvSource()"
    monkeypatch.setenv("PARTNER_AUTH_SOURCE", "env://ACME_")
    assert doctor()["source"]["reason"] == "of PARTNER_AUTH_SOURCE: EnvSource('ACME_')"
    given = doctor("--source", "env://OTHER_")
    assert given["source"]["reason"] == "of --source: EnvSource('OTHER_')"


def test_a_source_that_is_none_is_a_failure_and_not_shown(doctor, configured):
    """It may be the secret itself, and the rest of the report goes on."""
    report = doctor("--source", "hunter2-hunter2-hunter2")
    assert report.status("source") == "failure"
    assert report.status("URL") == "ok"
    assert "hunter2" not in str(report.json)


def test_a_missing_extra_is_a_failure_with_the_command(doctor, configured, monkeypatch):
    """What to type stands in the reason."""
    monkeypatch.delitem(sys.modules, "boto3", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    report = doctor("--source", "aws-ssm://prod/partner")
    assert "pip install 'partner-auth[aws]'" in report["source"]["reason"]


def test_plain_http_is_a_failure_and_nothing_is_sent(doctor, configured):
    """Not even to a host that exists."""
    report = doctor("--url", "http://api.partner.example/")
    assert report.status("HTTPS") == "failure"
    assert "connection" not in report


def test_a_url_elsewhere_than_the_programs_is_a_warning(doctor, configured, monkeypatch):
    """`PARTNER_BASE_URL` is where the program signs."""
    monkeypatch.setenv("PARTNER_BASE_URL", "https://api.partner.example")
    report = doctor("--url", f"{configured.url}/portfolio")
    assert report.status("URL") == "warning"
    assert report.status("answer") == "ok"


@pytest.mark.parametrize("url", ["api.partner.example", "https://me:hunter2@api.partner.example"])
def test_a_base_url_that_is_none_is_a_failure(doctor, configured, monkeypatch, url):
    """Nothing is sent there, and it is not shown."""
    monkeypatch.setenv("PARTNER_BASE_URL", url)
    report = doctor()
    assert report.status("URL") == "failure"
    assert "hunter2" not in str(report.json)


def test_a_proxy_on_the_way_to_this_machine_is_a_warning(doctor, configured, monkeypatch):
    """It would read the token; its own password is not shown."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@127.0.0.1:9")
    report = doctor()
    assert report.status("proxy") == "warning"
    assert "127.0.0.1:9" in report["proxy"]["reason"]
    assert report["proxy"]["remedy"] == "set NO_PROXY=127.0.0.1"
    assert "hunter2" not in str(report.json)


def test_no_proxy_is_honoured(doctor, configured, monkeypatch):
    """As the clients do."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    report = doctor()
    assert report.status("proxy") == "ok"
    assert report.status("answer") == "ok"
