"""The interpreter's end: no store holds it up, and a request in an atexit handler works."""

import re

import pytest

# A store that hangs, an object that has nothing, and one whose credential is stale.
HUNG = """
class Hung:
    def fetch(self):
        print("asked", flush=True)
        time.sleep(60)

class Once:
    reads = 0
    def fetch(self):
        self.reads += 1
        if self.reads > 1:
            time.sleep(60)
        return Credential("acme", OLD)

URL = "https://127.0.0.1:1/"  # never reached
"""
LEAVING = {
    "a thread that asks for a token": """
        threading.Thread(target=exact(Hung()).token, daemon=True).start()
        time.sleep(0.1)
    """,
    "a caller that gave up": """
        try:
            exact(Hung(), timeout=0.1).token()
        except SourceUnavailable as error:
            assert error.reason == "timeout"
    """,
    "a stale credential": """
        auth = exact(Once(), fresh_for=0.01)
        auth.token()
        time.sleep(0.02)
        assert signer_of(auth.token()) == "old"
        time.sleep(0.05)
    """,
    "requests": """
        import requests
        try:
            requests.get(URL, auth=exact(Hung(), timeout=0.1))
        except requests.ConnectionError as error:
            assert error.reason == "timeout"
    """,
    "httpx": """
        import httpx
        try:
            httpx.get(URL, auth=exact(Hung(), timeout=0.1))
        except httpx.ConnectError as error:
            assert error.reason == "timeout"
    """,
    "asyncio": """
        import asyncio, httpx
        async def main():
            async with httpx.AsyncClient(auth=exact(Hung())) as client:
                try:
                    await asyncio.wait_for(client.get(URL), 0.1)
                except TimeoutError:
                    pass
        asyncio.run(main())
    """,
    "trio": """
        import httpx, trio
        async def main():
            async with httpx.AsyncClient(auth=exact(Hung())) as client:
                with trio.move_on_after(0.1):
                    await client.get(URL)
        trio.run(main)
    """,
    "a coroutine that hangs": """
        import asyncio
        async def fetch():
            await asyncio.sleep(60)
        try:
            exact(fetch, timeout=0.1).token()
        except SourceUnavailable:
            pass
    """,
    "a log at DEBUG": """
        import logging
        logging.basicConfig(level=logging.DEBUG, filename=os.devnull)
        class Chatty:
            def fetch(self):
                while True:
                    logging.debug("still reading")
        try:
            exact(Chatty(), timeout=0.1).token()
        except SourceUnavailable:
            pass
    """,
    "40 objects": """
        import asyncio
        auths = [exact(Hung()) for _ in range(40)]
        async def main():
            tasks = [asyncio.ensure_future(auth.atoken()) for auth in auths]
            await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("leaving", list(LEAVING))
def test_a_hung_store_does_not_hold_up_the_end(run, leaving):
    """A program whose store hangs is gone soon after its last line, with 0 and no noise."""
    ended = run(HUNG, LEAVING[leaving], "print(time.monotonic())")
    (last,) = re.findall(r"\d+\.\d+", "\n".join(ended.lines))  # readers may begin after it
    assert ended.at - float(last) < 5


def test_a_keyboard_interrupt_ends_a_wait(run):
    """Ctrl-C in the main thread takes that out alone: others get their token, the read lands."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        store.delay(FOREVER)
        auth = exact(store)
        tokens = []
        other = threading.Thread(target=lambda: tokens.append(auth.token()))
        other.start()
        store.wait_for_reads(1)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            auth.token()
        except KeyboardInterrupt:
            store.release()
        other.join()
        print(signer_of(tokens[0]), signer_of(auth.token()), store.reads)
        """
    )
    assert ended.lines == ["old old 1"]


def test_a_keyboard_interrupt_ends_the_first_caller_alone(run):
    """Also when it was that caller whose request began the read."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        store.delay(FOREVER)
        auth = exact(store)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            auth.token()
        except KeyboardInterrupt:
            store.release()
        print(signer_of(auth.token()), store.reads)
        """
    )
    assert ended.lines == ["old 1"]


@pytest.mark.parametrize("held", [False, True], ids=["nothing held", "held"])
def test_a_rotation_met_in_an_atexit_handler_is_mended(run, partner_server, held):
    """Where no thread can be started any more (3.12) the store is read in place, at a 401 too."""
    partner_server.accept("new-" + "k" * 40)
    ended = run(
        f"""
        import atexit, requests

        class Rotated:
            secrets = [OLD, NEW]
            def fetch(self):
                secret = self.secrets.pop(0) if len(self.secrets) > 1 else self.secrets[0]
                return Credential("acme", secret)

        auth = exact(Rotated())
        if {held}:
            auth.token()

        def farewell():
            print(requests.get("{partner_server.url}/portfolio", auth=auth).status_code)

        atexit.register(farewell)
        """
    )
    assert ended.lines == ["200"]
    assert [received.status for received in partner_server.requests] == [401, 200]


def test_stale_is_served_in_an_atexit_handler(run, partner_server):
    """A credential that is due is no reason to fail, thread or no thread."""
    partner_server.accept("old-" + "k" * 40)
    ended = run(
        f"""
        import atexit, requests
        auth = exact(MemoryStore("acme", OLD), fresh_for=0.01)
        auth.token()
        time.sleep(0.02)

        def farewell():
            print(auth.status().state)
            print(requests.get("{partner_server.url}/portfolio", auth=auth).status_code)

        atexit.register(farewell)
        """
    )
    assert ended.lines == ["stale", "200"]


def test_a_hung_store_in_an_atexit_handler_ends_by_its_own_time_out(run):
    """A read in place takes as long as the source itself allows, and no longer."""
    ended = run(
        """
        import atexit

        class Slow:
            def fetch(self):
                time.sleep(0.3)
                raise SourceUnavailable("no answer in time", reason="timeout")

        def farewell():
            try:
                exact(Slow()).token()
            except SourceUnavailable as error:
                print(error.reason, time.monotonic())

        atexit.register(farewell)
        """
    )
    reason, at = ended.lines[0].split()
    assert reason == "timeout"
    assert ended.at - float(at) < 1


# -- signals


def test_a_signal_handler_may_refresh_in_the_midst_of_requests(run):
    """SIGHUP every 3 ms, `refresh(wait=False)` in its handler: every request is served."""
    ended = run(
        """
        import requests
        server = PartnerServer().start()
        auth = server.auth()
        signal.signal(signal.SIGHUP, lambda *_: auth.refresh(wait=False))
        done = threading.Event()

        def nag():
            while not done.wait(0.003):
                os.kill(os.getpid(), signal.SIGHUP)

        nagger = threading.Thread(target=nag)
        nagger.start()
        statuses = set()
        with requests.Session() as session:
            session.auth = auth
            for count in range(2000):
                if count >= 200 and server.store.reads > 10:
                    break
                if count % 40 == 0:
                    server.rotate()
                statuses.add(session.get(f"{server.url}/portfolio").status_code)
        done.set()
        nagger.join()
        print(statuses, server.store.reads > 10)
        server.close()
        """
    )
    assert ended.lines == ["{200} True"]


def test_a_signal_handler_takes_no_lock(run):
    """A signal that arrives while the main thread holds the object's lock does not wait for it."""
    ended = run(
        """
        class Signalling:
            armed = 0
            now = staticmethod(time.time)
            def monotonic(self):  # also read under the lock
                if self.armed > 0:
                    self.armed -= 1
                    signal.raise_signal(signal.SIGHUP)
                return time.monotonic()

        store, clock = MemoryStore("acme", OLD), Signalling()
        auth = PartnerAuth(store, clock=clock)
        signal.signal(signal.SIGHUP, lambda *_: auth.refresh(wait=False))
        auth.token()
        clock.armed = 50
        for _ in range(20):
            auth.status()
            auth.refresh()
        time.sleep(0.1)
        print(clock.armed, signer_of(auth.token()))
        """
    )
    assert ended.lines == ["0 old"]


def test_a_signal_handler_may_refresh_before_the_first_read(run):
    """A signal is as good as a request to begin with."""
    ended = run(
        """
        auth = exact(MemoryStore("acme", OLD))
        signal.signal(signal.SIGHUP, lambda *_: auth.refresh(wait=False))
        signal.raise_signal(signal.SIGHUP)
        while auth.status().state == "empty":
            time.sleep(0.001)
        print(auth.status().state)
        """
    )
    assert ended.lines == ["fresh"]
