"""One object in every client, in threads, asyncio and trio at once, through a rotation."""

import threading

import pytest

from tests.conformance.clients import CLIENTS


@pytest.fixture
def clients(partner):
    """Every client, over one object."""
    auth = partner.auth()
    clients = [make(auth) for make in CLIENTS.values()]
    yield clients
    for client in clients:
        client.close()


def at_once(*calls):
    """Run each call in a thread of its own; return what they return."""
    gate, results = threading.Barrier(len(calls)), []

    def run(call):
        gate.wait()
        results.append(call())

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def asking(clients, url):
    """Return a call for each client that asks for `url`."""
    return [lambda client=client: client.get(url).status_code for client in clients]


def test_the_first_requests_of_all_clients_share_one_read(clients, partner):
    """Whoever comes while it is under way waits for it, each in its own way."""
    partner.store.delay(0.3)
    assert at_once(*asking(clients, f"{partner.url}/portfolio")) == [200] * 7
    assert partner.store.reads == 1


def test_a_rotation_is_mended_for_all_clients_by_one_read(clients, partner):
    """All are rejected together, and resend together."""
    url = f"{partner.url}/portfolio"
    at_once(*asking(clients, url))
    partner.clear()
    partner.rotate()
    partner.store.delay(0.3)
    assert at_once(*asking(clients, url)) == [200] * 7
    assert partner.store.reads == 2
    assert len(partner.requests) <= 14


def test_what_one_client_has_found_out_serves_all(clients, partner):
    """The secret in use, and what is rejected, belong to the object."""
    url = f"{partner.url}/portfolio"
    partner.rotate()
    for client in clients:
        assert client.get(url).status_code == 200
    assert partner.store.reads == 1
    partner.rotate()
    for client in clients:
        assert client.get(url).status_code == 200
    assert [one.status for one in partner.requests].count(401) == 1


def test_rotations_under_traffic_of_all_clients_cost_no_request(clients, partner):
    """Ten in a row, while all of them ask all the time."""
    url, over = f"{partner.url}/portfolio", threading.Event()

    def traffic(client):
        statuses = []
        while not over.is_set():
            statuses.append(client.get(url).status_code)
        return statuses

    def rotations():
        for _ in range(10):
            partner.rotate()
            partner.wait_for(len(partner.requests) + 20)
        over.set()
        return []

    seen = at_once(*(lambda client=client: traffic(client) for client in clients), rotations)
    assert len(seen) == 8
    assert {status for statuses in seen for status in statuses} == {200}
