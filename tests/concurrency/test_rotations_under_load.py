"""Threads and an event loop at once, while the secret is rotated again and again."""

import asyncio
import contextlib
import threading
import time

import httpx
import jwt
import pytest

from partner_auth import PartnerAuth
from partner_auth.testing import MemoryStore
from tests.concurrency.kit import eventually

URL = "https://api.partner.example/portfolio"
THREADS, TASKS, ROTATIONS = 6, 20, 8


class Partner:
    """Believes the secrets that it is told to, without a network in between."""

    def __init__(self, *accepted):
        self.accepted = set(accepted)
        self.sends = 0
        self.asking = set()

    def answer(self, request):
        """Answer 200 or 401."""
        self.sends += 1
        token = request.headers["Authorization"].removeprefix("Bearer ")
        good = any(self.believes(token, secret) for secret in tuple(self.accepted))
        return httpx.Response(200 if good else 401, request=request)

    @staticmethod
    def believes(token, secret):
        """Whether this secret signed it."""
        try:
            jwt.decode(
                token,
                secret,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            return False
        return True

    def settle(self):
        """Let all requests end that met this step: a busy machine may hold one up for longer than a rotation."""
        time.sleep(0.06)
        met = set(self.asking)
        eventually(lambda: not met & self.asking, within=20)

    @contextlib.contextmanager
    def asked(self):
        """Know of a request while it is under way."""
        one = object()
        self.asking.add(one)
        try:
            yield
        finally:
            self.asking.remove(one)

    def ask(self, auth):
        """Drive one request to its end, in a thread."""
        with self.asked():
            return self._ask(auth)

    async def aask(self, auth):
        """Drive one request to its end, in a task."""
        with self.asked():
            return await self._aask(auth)

    def _ask(self, auth):
        flow = auth.sync_auth_flow(httpx.Request("GET", URL))
        request, sends = next(flow), 1
        while True:
            response = self.answer(request)
            time.sleep(0.002)
            try:
                request, sends = flow.send(response), sends + 1
            except StopIteration:
                return response.status_code, sends

    async def _aask(self, auth):
        flow = auth.async_auth_flow(httpx.Request("GET", URL))
        request, sends = await anext(flow), 1
        while True:
            response = self.answer(request)
            await asyncio.sleep(0.002)
            try:
                request, sends = await flow.asend(response), sends + 1
            except StopAsyncIteration:
                return response.status_code, sends


def secret(number):
    """Return one secret of many."""
    return f"secret-{number}-{'k' * 40}"


def store_first(store, partner, number):
    """The store has the new secret before the partner stops believing the old one."""
    partner.accepted.add(secret(number))
    store.set(secret(number))
    partner.settle()
    partner.accepted = {secret(number)}


def partner_first(store, partner, number):
    """The partner switches; the store knew that secret as pending, and makes it current later."""
    store.pending = secret(number)
    partner.settle()
    partner.accepted = {secret(number)}
    partner.settle()
    store.set(secret(number))
    store.pending = None


@pytest.mark.parametrize("rotate", [store_first, partner_first])
def test_no_request_fails_while_secrets_are_rotated(rotate):
    """Eight rotations in a row, met by threads and tasks at once: all are mended."""
    store, partner = MemoryStore("acme", secret(0)), Partner(secret(0))
    store.delay(0.002)
    auth = PartnerAuth(store, origins="https://api.partner.example")
    done = threading.Event()
    outcomes = []

    def load():
        while not done.is_set():
            outcomes.append(partner.ask(auth))

    async def loop():
        async def task():
            while not done.is_set():
                outcomes.append(await partner.aask(auth))

        await asyncio.gather(*(task() for _ in range(TASKS)))

    threads = [threading.Thread(target=load) for _ in range(THREADS)]
    threads.append(threading.Thread(target=lambda: asyncio.run(loop())))
    for thread in threads:
        thread.start()
    for number in range(1, ROTATIONS + 1):
        rotate(store, partner, number)
        partner.settle()
    done.set()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(outcomes) > 500
    assert {status for status, _sends in outcomes} == {200}
    assert max(sends for _status, sends in outcomes) <= 4
    assert store.reads <= 1 + 2 * ROTATIONS
    assert store.alternate_reads <= 2 * ROTATIONS


# -- what the load above showed, by hand


class ByHand:
    """One request whose answers a test gives one by one."""

    def __init__(self, auth, **body):
        self.flow = auth.sync_auth_flow(httpx.Request("POST", URL, **body))
        self.request = next(self.flow)

    def answer(self, partner):
        """Give the partner's answer to what was sent last. Return its status once it goes back."""
        response = partner.answer(self.request)
        try:
            self.request = self.flow.send(response)
        except StopIteration:
            return response.status_code
        return None


def test_a_look_that_lingers_says_nothing_of_a_newer_credential(clock):
    """A request that is still trying an old secret keeps nobody from asking the store."""
    store, partner = MemoryStore("acme", secret(0)), Partner()
    auth = PartnerAuth(store, origins="https://api.partner.example", clock=clock)
    slow = ByHand(auth)
    assert slow.answer(partner) is None  # it tries, and its answer is long in coming
    store.set(secret(1))
    auth.refresh()
    store.set(secret(2))
    partner.accepted = {secret(2)}
    assert partner.ask(auth) == (200, 2)
    slow.flow.close()


def test_an_alternate_that_becomes_the_current_one_stays_as_rejected_as_it_was(clock):
    """A look goes on when the store's news is what was refused: one read of each kind."""
    store, partner = MemoryStore("acme", secret(0)), Partner(secret(1))
    store.pending = secret(1)
    auth = PartnerAuth(store, origins="https://api.partner.example", clock=clock)
    assert partner.ask(auth) == (200, 3)
    before = store.reads, store.alternate_reads
    store.set(secret(1))
    store.pending = secret(2)
    partner.accepted = {secret(2)}
    assert partner.ask(auth) == (200, 3)
    assert (store.reads, store.alternate_reads) == (before[0] + 1, before[1] + 1)


def test_a_promotion_does_not_end_a_rejection(clock):
    """What is refused under the name of pending is not accepted for being current."""
    store, partner = MemoryStore("acme", secret(0)), Partner(secret(1))
    store.pending = secret(1)
    auth = PartnerAuth(store, origins="https://api.partner.example", clock=clock)
    assert partner.ask(auth) == (200, 3)
    partner.accepted = set()
    since = clock.now()
    for _ in range(2):
        assert partner.ask(auth)[0] == 401
        assert (
            auth.status().origins["https://api.partner.example"].rejected_since.timestamp() == since
        )
        clock.advance(40)
        store.set(secret(1))
        store.pending = None


def test_a_stream_is_not_resent_though_another_secret_has_come_into_use(clock):
    """A body that is gone after the first send is sent once, whatever has been found out since."""
    store, partner = MemoryStore("acme", secret(0)), Partner(secret(1))
    auth = PartnerAuth(store, origins="https://api.partner.example", clock=clock)
    stream = ByHand(auth, content=iter([b"once"]))
    store.set(secret(1))
    auth.refresh()
    assert (stream.answer(partner), partner.sends) == (401, 1)
