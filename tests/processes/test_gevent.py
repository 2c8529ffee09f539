"""gevent, patched before or after the import: one read for all greenlets, and a free hub."""

import pytest

GREENLETS = """
import gevent

class Store:
    reads = 0
    def fetch(self):
        self.reads += 1
        time.sleep(0.3)
        return Credential("acme", OLD)
"""
PATCH = "from gevent import monkey; monkey.patch_all()"
LATE = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # gevent warns of that order, which is the point here
    from gevent import monkey; monkey.patch_all()
"""
ORDERS = pytest.mark.parametrize(
    ("first", "then"), [(PATCH, ""), ("import partner_auth", LATE)], ids=["before", "after"]
)


@ORDERS
def test_greenlets_share_one_read(run, first, then):
    """Fifty greenlets, two of them killed while they wait, are one read; the others are served."""
    ended = run(
        then,
        GREENLETS,
        """
        store = Store()
        auth = exact(store)
        greenlets = [gevent.spawn(auth.token) for _ in range(50)]
        gevent.sleep(0.1)
        gevent.killall([greenlets[0], greenlets[7]])
        gevent.joinall(greenlets, timeout=5)
        tokens = [greenlet.value for greenlet in greenlets]
        print(sum(isinstance(token, str) for token in tokens), store.reads)
        """,
        first=first,
    )
    assert ended.lines == ["48 1"]


@ORDERS
def test_the_hub_is_not_held(run, first, then):
    """While greenlets wait for a store every other greenlet has its turn."""
    ended = run(
        then,
        GREENLETS,
        """
        lags = []

        def beat():
            while True:
                began = time.monotonic()
                gevent.sleep(0.002)
                lags.append(time.monotonic() - began)

        heart = gevent.spawn(beat)
        auth = exact(Store())
        gevent.joinall([gevent.spawn(auth.token) for _ in range(50)], timeout=5)
        heart.kill()
        print(max(lags))
        """,
        first=first,
    )
    assert float(ended.lines[0]) < 0.2  # of the 0.3 s that the store takes


@ORDERS
def test_an_object_from_before_the_patch_works_after_it(run, first, then):
    """Locks that were made before gevent came do no harm: nothing switches under them."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        early = exact(store, fresh_for=0.01)
        """,
        then,
        """
        import gevent
        for _ in range(3):
            greenlets = [gevent.spawn(early.token) for _ in range(20)]
            gevent.joinall(greenlets, timeout=5)
            assert {signer_of(greenlet.value) for greenlet in greenlets} == {"old"}
            early.refresh()
            gevent.sleep(0.02)
        print(early.status().last_error)
        """,
        first=first,
    )
    assert ended.lines == ["None"]


@ORDERS
def test_requests_are_mended_under_gevent(run, first, then):
    """Greenlets with one session each meet a rotation, and all are served."""
    ended = run(
        then,
        """
        import gevent, requests
        server = PartnerServer().start()
        auth = server.auth()
        auth.token()
        server.rotate()

        def ask():
            with requests.Session() as session:
                session.auth = auth
                return session.get(f"{server.url}/portfolio").status_code

        greenlets = [gevent.spawn(ask) for _ in range(20)]
        gevent.joinall(greenlets, timeout=10)
        print({greenlet.value for greenlet in greenlets}, server.store.reads <= 4)
        server.close()
        """,
        first=first,
    )
    assert ended.lines == ["{200} True"]


@ORDERS
def test_a_hung_store_does_not_hold_up_the_end_under_gevent(run, first, then):
    """A reading greenlet lets go of the interpreter as a thread does."""
    ended = run(
        then,
        """
        class Hung:
            def fetch(self):
                time.sleep(60)

        try:
            exact(Hung(), timeout=0.1).token()
        except SourceUnavailable as error:
            print(error.reason)
        print(time.monotonic())
        """,
        first=first,
    )
    assert ended.lines[0] == "timeout"
    assert ended.at - float(ended.lines[1]) < 1
