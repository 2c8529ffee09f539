"""A real moto server in trouble, and labels that move, while requests flow."""

from __future__ import annotations

import json
import time

import pytest

from partner_auth.sources import AwsSecretsManagerSource
from tests.sources.aws_fixtures import K0, K1, K2, NAME, document, refusal_of
from tests.sources.lying_server import DROP, Reply, passed_on
from tests.stores.kit import SELDOM, eventually, failures, is_well, tells


@pytest.fixture
def source(aws, partner, proxy):
    """A secret that both know, read through the proxy."""
    aws.create(document(K0))
    partner.accept(K0)
    proxy.pass_on_to(aws.endpoint)
    return AwsSecretsManagerSource(NAME, endpoint_url=proxy.url)


# Not now


def test_no_request_fails_while_the_server_is_stopped(partner, aws, flowing):
    """A server that is gone, and back on the same port: `status()` says so, and callers nothing."""
    from moto.server import ThreadedMotoServer

    aws.create(document(K0))
    partner.accept(K0)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with flowing(AwsSecretsManagerSource(NAME, endpoint_url=url)) as traffic:
        server.stop()
        server._server.server_close()
        eventually(tells(traffic.auth, "AwsSecretsManagerSource"))
        traffic.flow()
        assert traffic.auth.status().state == "stale"
        again = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        again.start()
        eventually(lambda: is_well(traffic.auth))
        traffic.flow()
    again.stop()
    again._server.server_close()
    assert not traffic.failures


def test_no_request_waits_for_a_slow_store(source, proxy, aws, flowing):
    """Reads of 0.4 s happen behind the requests."""
    with flowing(source) as traffic:
        through, asked = passed_on(aws.endpoint), len(proxy.requests)
        proxy.answer = lambda request: (time.sleep(0.4), through(request))[1]
        eventually(lambda: len(proxy.requests) > asked + 1)
        proxy.answer = through
    assert not traffic.failures
    assert max(outcome.took for outcome in traffic.outcomes) < 0.35


def test_a_throttling_store_is_left_in_peace(source, proxy, aws, flowing):
    """However many requests flow, it is not asked again in the pause after it refused."""
    with flowing(source, backoff=5.0, backoff_max=5.0) as traffic:
        proxy.say(refusal_of("ThrottlingException"))
        eventually(tells(traffic.auth, "Throttling"))
        asked, until = (
            len(proxy.requests),
            time.monotonic() + 1.3,
        )  # a token is not looked at for 1 s
        while time.monotonic() < until:
            traffic.flow(20)
        assert len(proxy.requests) == asked
        proxy.pass_on_to(aws.endpoint)
        traffic.auth.refresh()
        assert is_well(traffic.auth)
    assert not traffic.failures


@pytest.mark.parametrize("trouble", [refusal_of("ThrottlingException"), DROP], ids=["429", "gone"])
def test_a_rotation_in_the_middle_of_trouble(source, proxy, aws, partner, flowing, trouble):
    """Refused while the store can't be read, callers get the 401; soon after it all is well."""
    with flowing(source, **SELDOM) as traffic:
        proxy.say(trouble)
        aws.put(document(K1))
        partner.rotate(K1, store=False)
        eventually(lambda: set(failures(traffic.flow(10))) == {401})
        proxy.pass_on_to(aws.endpoint)
        eventually(lambda: not failures(traffic.flow(10)), within=3)
        assert not failures(traffic.flow())
    assert set(traffic.failures) == {401}


# A rotation function's four steps


@pytest.mark.parametrize("overlap", [True, False], ids=["both are taken", "one is taken"])
@pytest.mark.parametrize("reads", [{}, SELDOM], ids=["read often", "read at a 401"])
def test_no_request_fails_through_the_four_steps(
    source, proxy, aws, partner, flowing, reads, overlap
):
    """A pending label without a value, with one, set, tested, on the current version, and gone."""
    through = passed_on(aws.endpoint)
    nothing = refusal_of("ResourceNotFoundException")
    proxy.answer = lambda asked: nothing if b"AWSPENDING" in asked.body else through(asked)
    with flowing(source, **reads) as traffic:
        traffic.flow()  # RotateSecret has labelled a version that has no value yet
        pending = aws.pend(document(K1))  # createSecret
        proxy.pass_on_to(aws.endpoint)
        traffic.flow()
        partner.rotate(K1, overlap=overlap, store=False)  # setSecret
        traffic.flow()  # testSecret
        aws.finish(pending, keep_pending=True)  # finishSecret
        traffic.flow()
        partner.retire()
        traffic.flow()
        aws.manager.update_secret_version_stage(
            SecretId=NAME, VersionStage="AWSPENDING", RemoveFromVersionId=pending
        )
        traffic.auth.refresh()
        traffic.flow()
        assert traffic.auth.status().version == pending
    assert not traffic.failures


def test_a_pending_label_without_a_value_when_the_partner_is_late(
    source, proxy, aws, partner, flowing
):
    """Its refusal says nothing of the version before, which is what the partner takes."""
    through = passed_on(aws.endpoint)
    nothing = refusal_of("ResourceNotFoundException")
    with flowing(source, **SELDOM) as traffic:
        aws.put(document(K1))
        proxy.answer = lambda asked: nothing if b"AWSPENDING" in asked.body else through(asked)
        traffic.auth.refresh()
        traffic.flow()
        assert partner.requests[-1].accepted_by == "current"
    assert not traffic.failures


def test_a_pending_label_on_the_current_version_costs_no_send(source, aws, flowing):
    """Left there by finishSecret it is the current secret; the one before is tried at once."""
    with flowing(source, **SELDOM) as traffic:
        aws.finish(aws.pend(document(K1)), keep_pending=True)
        traffic.auth.refresh()
        traffic.flow()
    assert not traffic.failures
    assert traffic.most_sends == 3  # current, current signed afresh, the one before


@pytest.mark.parametrize(("older", "sends"), [(True, 3), (False, 4)], ids=["by date", "unknown"])
def test_a_stale_pending_secret_does_no_harm(source, proxy, aws, partner, flowing, older, sends):
    """What a failed rotation left behind costs one send at most, and none where dates tell it."""
    through = passed_on(aws.endpoint)

    def dated(asked):
        reply = through(asked)
        said = json.loads(reply.body)
        said["CreatedDate"] -= 3600 * (older and b"AWSPENDING" in asked.body)
        return Reply(reply.status, said, reply.headers)

    proxy.answer = dated
    with flowing(source, **SELDOM) as traffic:
        aws.pend(document(K2))
        aws.put(document(K1))
        traffic.auth.refresh()
        traffic.flow()
        partner.rotate(K1, store=False)
        traffic.flow()
    assert not traffic.failures
    assert traffic.most_sends == sends
