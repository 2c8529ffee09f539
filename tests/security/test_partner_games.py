"""A partner, or who poses as one, that plays games: what it can cost, and what it can't get."""

import contextlib
import threading
import time
from email.utils import formatdate

import pytest
import requests

from partner_auth import Credential, PartnerAuth, RefreshPolicy
from partner_auth.testing import Clock, MemoryStore, PartnerServer
from tests.conformance.clients import CLIENTS

# A body that is not read to its end leaves generators of httpcore behind, which trio tells of.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
DAY = 86_400.0
HOSTILE = ["endless", "drip", "cut", "bad-gzip", "huge", "bomb", "silent", "empty"]


@pytest.fixture(params=CLIENTS)
def connect(request):
    """Make a client."""
    with contextlib.ExitStack() as opened:

        def connect(auth, **options):
            client = CLIENTS[request.param](auth, **options)
            opened.callback(client.close)
            return client

        yield connect


@pytest.fixture
def partner():
    """The partner whose secret it is."""
    with PartnerServer() as server:
        yield server


@pytest.fixture
def stranger():
    """Somebody else."""
    with PartnerServer() as server:
        yield server


def status(client, url, **given):
    """Return the status, or the name of the client's own error."""
    try:
        return client.get(url, **given).status_code
    except client.base_error as error:
        return type(error).__name__


# -- floods


@pytest.mark.parametrize("alternates", [0, 1, 2])
def test_a_flood_of_refusals_is_bounded(partner, alternates):
    """A thousand requests of sixteen threads: ten looks of five in the first second, then four."""
    pending, previous = ["p" * 40, "q" * 40][:alternates] + [None] * (2 - alternates)
    partner.store.pending, partner.store.previous = pending, previous
    auth = partner.auth()
    auth.token()
    partner.reject()
    reads = partner.store.reads

    def work():
        with requests.Session() as session:
            session.auth = auth
            for _ in range(63):
                assert session.get(f"{partner.url}/portfolio").status_code == 401

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    assert len(partner.requests) - 16 * 63 <= (50 + 4 * took) * (alternates + 1)
    assert partner.store.reads - reads <= 11 + 4 * took
    assert partner.store.alternate_reads <= 11 + 4 * took


def test_no_request_is_sent_more_than_four_times(connect, partner):
    """Whatever is refused, with every secret that the store knows, new ones meanwhile included."""
    partner.store.pending, partner.store.previous = "p" * 40, "q" * 40
    client = connect(partner.auth())
    client.get(f"{partner.url}/portfolio")
    partner.reject()
    for number in range(6):
        partner.clear()
        partner.store.set(f"another secret, number {number} of six, and long enough")
        assert status(client, f"{partner.url}/portfolio") == 401
        assert len(partner.requests) <= 4


def test_a_partner_that_says_401_for_403_is_soon_asked_once(connect, partner):
    """After three false alarms a refusal there is no reason to look."""
    client = connect(partner.auth())
    partner.forbid("/forbidden")
    for _ in range(12):
        assert status(client, f"{partner.url}/forbidden") == 401
        assert status(client, f"{partner.url}/portfolio") == 200
    partner.clear()
    reads = partner.store.reads
    for _ in range(20):
        assert status(client, f"{partner.url}/forbidden") == 401
        assert status(client, f"{partner.url}/portfolio") == 200
    assert len(partner.requests) == 40
    assert partner.store.reads == reads


# -- bodies


def test_rotations_with_every_kind_of_body_leave_one_connection_usable(connect, partner):
    """A pool of one: none is lost to a body that never ends."""
    client = connect(partner.auth(), one_connection=True)
    assert status(client, f"{partner.url}/portfolio") == 200
    for kind in [kind for kind in HOSTILE if kind not in ("drip", "silent")] * 3:
        partner.hostile(kind)
        partner.rotate()
        assert status(client, f"{partner.url}/portfolio") == 200


@pytest.mark.parametrize("order", ["store first", "partner first", "pending"])
def test_no_order_of_a_rotation_is_lost_to_a_body(connect, partner, order):
    """That never ends, at every refusal of it."""
    client = connect(partner.auth())
    assert status(client, f"{partner.url}/portfolio") == 200
    partner.hostile("endless")
    new = "the next secret, of more than thirty-two bytes"
    if order == "store first":
        partner.store.set(new)
        assert status(client, f"{partner.url}/portfolio") == 200
        partner.rotate(new)
    elif order == "pending":
        partner.store.pending = new
        partner.rotate(new, store=False)
    else:
        partner.rotate(new, store=False)
        threading.Timer(0.1, partner.store.set, [new]).start()
        time.sleep(0.2)
    assert status(client, f"{partner.url}/portfolio") == 200


def test_a_body_that_never_comes_costs_a_second_for_each_send(connect, partner):
    """And the caller's own time limit holds for the answer that goes back."""
    client = connect(partner.auth())
    client.get(f"{partner.url}/portfolio")
    partner.hostile("silent")
    partner.reject()
    began = time.monotonic()
    outcome = status(client, f"{partner.url}/portfolio", timeout=0.5)
    assert outcome in (401, "ReadTimeout", "ConnectionError", "ChunkedEncodingError")
    assert time.monotonic() - began < 4.0


def test_a_challenge_of_60_kb_changes_nothing(connect, partner):
    """It is looked at, and shown in part."""
    shown = []
    client = connect(partner.auth(on_event=shown.append))
    client.get(f"{partner.url}/portfolio")
    partner.challenge("Bearer " + 'x="y", ' * 8000)
    partner.rotate()
    assert status(client, f"{partner.url}/portfolio") == 200
    partner.reject()
    status(client, f"{partner.url}/portfolio")
    assert max(len(getattr(event, "challenge", "")) for event in shown) <= 200


# -- time


@pytest.mark.parametrize("years", [-1, 1, 50])
@pytest.mark.parametrize("alternates", [0, 2])
def test_no_date_makes_a_token_that_outlives_its_lifetime(connect, partner, years, alternates):
    """Whatever the partner says of the time, and even if it then accepts anything."""
    client = connect(partner.auth())
    client.get(f"{partner.url}/portfolio")
    if alternates:
        partner.store.pending, partner.store.previous = "p" * 40, "q" * 40
    now = time.time()
    steps = (0.3, 3, 3600, 0.9 * DAY, 1.1 * DAY, 40 * DAY, 365 * DAY * years)
    for step in steps:
        for sign in (1, -1):
            partner.dates(formatdate(now + sign * step, usegmt=True))
            partner.reject()
            status(client, f"{partner.url}/portfolio")
            partner.restore()
            status(client, f"{partner.url}/portfolio")
    for one in partner.requests:
        claims = one.claims
        assert claims["exp"] - claims["iat"] == 900
        assert abs(claims["iat"] - now) <= DAY + 60
    assert abs(client.native.auth.status().clock_offset) <= DAY


def test_dates_that_run_ahead_do_not_add_up(connect):
    """Each is held against our own clock: a day remains the bound."""
    clock = Clock()
    with PartnerServer(clock=clock) as partner:
        client = connect(partner.auth())
        client.get(f"{partner.url}/portfolio")
        for step in range(1, 40):
            partner.dates(formatdate(clock.now() + step * 0.9 * DAY, usegmt=True))
            partner.fail(401)
            status(client, f"{partner.url}/portfolio")
            clock.advance(40)
        ahead = [one.claims["iat"] - clock.now() for one in partner.requests]
    assert max(ahead) <= DAY


def test_no_date_makes_a_token_outlive_its_credential(connect, partner):
    """`expires_at` is the end, whatever the partner's clock says."""
    ends = time.time() + 600
    key = partner.secret
    source = MemoryStore("acme", Credential("acme", key, expires_at=ends))
    client = connect(partner.auth(source=source))
    for step in (0, 3600, -3600):
        partner.dates(formatdate(time.time() + step, usegmt=True))
        partner.fail(401)
        status(client, f"{partner.url}/portfolio")
    assert max(one.claims["exp"] for one in partner.requests) <= ends


# -- redirects


def test_a_loop_between_two_named_origins_ends(connect, partner, stranger):
    """Each hop is refused at first; sends and reads stay bounded, the client ends the loop."""
    stranger.accept(partner.secret)
    partner.public("/loop")
    partner.redirect("/loop", f"{stranger.url}/loop", 307)
    stranger.redirect("/loop", f"{partner.url}/loop", 307)
    auth = partner.auth(origins=[partner.url, stranger.url])
    client = connect(auth, max_redirects=6)
    assert status(client, f"{partner.url}/loop") in (401, 307, "TooManyRedirects")
    assert len(partner.requests) + len(stranger.requests) <= 40
    assert partner.store.reads <= 8


def test_a_stranger_who_redirects_back_gets_no_token(connect, partner, stranger):
    """Nor one who refuses, nor one whose name begins like the partner's."""
    partner.redirect("/out", f"{stranger.url}/back")
    stranger.public("/back")
    stranger.redirect("/back", f"{partner.url}/portfolio")
    client = connect(partner.auth())
    for _ in range(3):
        status(client, f"{partner.url}/out")
        partner.rotate()
    stranger.redirect("/back", f"{stranger.url}/loop")
    stranger.redirect("/loop", "/loop")
    status(client, f"{partner.url}/out")
    lookalike = partner.url.replace("127.0.0.1", "localhost")
    status(client, f"{lookalike}/portfolio")
    assert {one.token for one in stranger.requests} == {None}
    assert [one.token for one in partner.requests if "localhost" in one.headers["Host"]] == [None]


# -- several


def test_an_origin_that_plays_games_does_no_harm_to_another(connect, partner, stranger):
    """It refuses all with bodies that never end; at the other one every rotation is mended."""
    auth = partner.auth(origins=[partner.url, stranger.url])
    client = connect(auth)
    stranger.hostile("endless")
    stranger.reject()
    with contextlib.suppress(Exception), client.stream("GET", f"{stranger.url}/portfolio"):
        pass
    for _ in range(5):
        with contextlib.suppress(Exception), client.stream("GET", f"{stranger.url}/portfolio"):
            pass
        partner.rotate()
        began = time.monotonic()
        assert status(client, f"{partner.url}/portfolio") == 200
        assert time.monotonic() - began < 1.0


def test_two_objects_on_one_client_never_share_a_token(connect, partner, stranger):
    """Their partners rotate and refuse in turn; each sees the tokens of its own alone."""
    tenants = {partner: partner.auth(origins=None), stranger: stranger.auth(origins=None)}
    client = connect(None)
    for turn in range(12):
        for server, auth in tenants.items():
            if turn % 3 == 1:
                server.rotate()
            elif turn % 3 == 2:
                server.fail(401)
            given = {"auth": auth}
            assert client.get(f"{server.url}/portfolio", **given).status_code == 200
    for server in tenants:
        assert {one.refusal for one in server.requests} <= {None, "unknown_secret"}
        tokens = {one.token for one in server.requests}
        others = {one.token for other in tenants if other is not server for one in other.requests}
        assert not tokens & others


def test_tenants_in_threads_never_share_a_token():
    """Eight of them on one session pool, rotated at random, each with a secret of its own."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(PartnerServer(client_id=f"tenant-{n}")) for n in range(8)]
        session = stack.enter_context(requests.Session())
        wrong = []

        def work(server):
            auth = server.auth(refresh=RefreshPolicy(fresh_for=0.01, backoff=0.01))
            for turn in range(30):
                if turn % 5 == 0:
                    server.rotate()
                answer = requests.Request("GET", f"{server.url}/portfolio", auth=auth).prepare()
                if session.send(answer).status_code != 200:
                    wrong.append(server)

        threads = [threading.Thread(target=work, args=(server,)) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        for server in servers:
            assert {one.claims["clientId"] for one in server.requests} == {server.client_id}
            assert {one.refusal for one in server.requests} <= {None, "unknown_secret"}


def test_an_object_for_no_origin_signs_nothing_on_a_shared_client(connect, partner, stranger):
    """What one object signs for, another one on the same client does not."""
    client = connect(partner.auth())
    elsewhere = PartnerAuth(partner.store, origins=stranger.url)
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert client.get(f"{partner.url}/portfolio", auth=elsewhere).status_code == 401
    assert partner.requests[-1].token is None
