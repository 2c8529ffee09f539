"""os.fork, at any moment: the child keeps what is held, and owes nothing to the parent's reads."""

import pytest

# From 3.12 on a fork beside a thread warns, and a thread in the midst of a read is the point here.
THREADED = ("-W", "ignore::DeprecationWarning")
CHILD = """
def in_child(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        print(work(), flush=True)
    finally:
        os._exit(0)
"""


def test_a_child_of_a_fork_within_a_read_reads_for_itself(run):
    """The parent's read is not the child's: it reads, and so does the parent."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        store.delay(FOREVER)
        auth = exact(store)
        tokens = []
        caller = threading.Thread(target=lambda: tokens.append(auth.token()))
        caller.start()
        store.wait_for_reads(1)

        def child():
            store.release()
            return signer_of(auth.token()), store.reads

        os.waitpid(in_child(child), 0)
        store.release()
        caller.join()
        print((signer_of(tokens[0]), store.reads))
        """,
        first=CHILD,
        flags=THREADED,
    )
    assert ended.lines == ["('old', 2)", "('old', 1)"]


def test_a_child_keeps_what_is_held(run):
    """What the parent held serves in the child, without a read."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        auth = exact(store)
        token = auth.token()
        os.waitpid(in_child(lambda: (auth.token() == token, store.reads)), 0)
        """,
        first=CHILD,
    )
    assert ended.lines == ["(True, 1)"]


@pytest.mark.parametrize("jitter", [0.1, 0])
def test_a_child_draws_its_jitter_anew(run, jitter):
    """Workers that were forked from one that had read do not read again in step."""
    ended = run(
        f"""
        auth = exact(MemoryStore("acme", OLD), jitter={jitter})
        for _ in range(2):
            auth.refresh()
        def due():
            return auth.status().next_read.timestamp()
        before = due()
        for _ in range(6):
            os.waitpid(in_child(due), 0)
        print(before)
        """,
        first=CHILD,
    )
    *children, parent = [float(line) for line in ended.lines]
    assert all(child <= parent + 0.01 for child in children)
    spread = max(children) - min(children)
    assert spread > 10 if jitter else spread < 0.01


def test_a_child_draws_its_next_read_over_the_whole(run):
    """Workers that were forked before the first read spread theirs like any process."""
    ended = run(
        """
        auth = PartnerAuth(MemoryStore("acme", OLD), refresh=RefreshPolicy(fresh_for=1000))
        for _ in range(2):
            auth.refresh()
        def span():
            auth.refresh()
            due = auth.status().next_read
            return (due.timestamp() if due else time.time()) - time.time()
        for _ in range(12):
            os.waitpid(in_child(span), 0)
        """,
        first=CHILD,
    )
    assert min(map(float, ended.lines)) < 890


def test_a_child_of_a_fork_within_a_recovery_recovers_for_itself(run):
    """A look that the parent's threads are in is not the child's to wait for."""
    ended = run(
        """
        import requests
        server = PartnerServer().start()
        store, url = server.store, f"{server.url}/portfolio"
        auth = server.auth()
        session = requests.Session()
        session.auth = auth
        assert session.get(url).ok
        server.rotate()
        store.delay(FOREVER)
        statuses = []
        caller = threading.Thread(target=lambda: statuses.append(session.get(url).status_code))
        caller.start()
        store.wait_for_reads(2)

        def child():
            store.release()
            fresh = requests.Session()
            fresh.auth = auth
            return fresh.get(url).status_code, store.reads

        os.waitpid(in_child(child), 0)
        store.release()
        caller.join()
        print((statuses[0], store.reads))
        session.close()
        server.close()
        """,
        first=CHILD,
        flags=THREADED,
    )
    assert ended.lines == ["(200, 3)", "(200, 2)"]


def test_forks_under_load_leave_no_lock_behind(run):
    """Whatever other threads were doing at that instant, each child signs and reads."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        auths = [exact(store, fresh_for=0.001) for _ in range(4)]
        done = threading.Event()

        def load(auth):
            while not done.is_set():
                auth.token()
                auth.refresh()

        threads = [threading.Thread(target=load, args=(auth,)) for auth in auths for _ in range(2)]
        for thread in threads:
            thread.start()

        class Own:  # the store's own lock may be held at the fork, and is not what is tested
            def fetch(self):
                return Credential("acme", NEW)

        def child():
            for auth in auths:
                auth._cache.reader._source = Own()
                auth.refresh()
                if signer_of(auth.token()) != "new":
                    return "failed"
            return "done"

        for _ in range(15):
            time.sleep(0.01)
            os.waitpid(in_child(child), 0)
        done.set()
        for thread in threads:
            thread.join()
        """,
        first=CHILD,
        flags=THREADED,
    )
    assert ended.lines == ["done"] * 15


def test_a_lock_that_is_held_at_the_fork_is_not_the_child_s(run):
    """A thread of the parent that stands under the object's lock does not lock the child out."""
    ended = run(
        """
        class Stopping:  # also asked under the lock
            stops = False
            now = staticmethod(time.time)
            stopped, go = threading.Event(), threading.Event()

            def monotonic(self):
                if self.stops:
                    self.stopped.set()
                    self.go.wait()
                return time.monotonic()

        clock = Stopping()
        auth = PartnerAuth(MemoryStore("acme", OLD), clock=clock)
        auth.token()
        clock.stops = True
        reader = threading.Thread(target=lambda: auth._cache.state())
        reader.start()
        clock.stopped.wait()
        clock.stops = False

        def child():
            auth.refresh()
            return signer_of(auth.token())

        os.waitpid(in_child(child), 0)
        clock.go.set()
        reader.join()
        """,
        first=CHILD,
        flags=THREADED,
    )
    assert ended.lines == ["old"]


def test_a_child_reads_when_its_own_jitter_says_so(run):
    """Not when the token that the parent held would have ended."""
    ended = run(
        """
        from partner_auth.testing import Clock
        store, clock = MemoryStore("acme", OLD), Clock()
        policy = RefreshPolicy(fresh_for=1000, jitter=0.5)
        auth = PartnerAuth(store, clock=clock, refresh=policy, lifetime=9000)
        auth.refresh()
        auth.refresh()
        auth.token()

        def child():
            due = auth.status().next_read.timestamp()
            clock.advance(due - clock.now() + 0.001)
            auth.token()
            store.wait_for_reads(3)
            return store.reads

        os.waitpid(in_child(child), 0)
        """,
        first=CHILD,
    )
    assert ended.lines == ["3"]


def test_a_refresh_that_a_thread_of_the_parent_s_is_to_begin_is_not_the_child_s(run):
    """A signal in the child begins one of its own."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        store.delay(FOREVER)
        auth = exact(store)
        auth.refresh(wait=False)
        store.wait_for_reads(1)
        auth.refresh(wait=False)
        while not auth._cache._soon:  # that it waits for the end of the first one
            time.sleep(0.001)

        def child():
            auth.refresh(wait=False)
            store.wait_for_reads(2)
            return store.reads

        os.waitpid(in_child(child), 0)
        store.release()
        """,
        first=CHILD,
        flags=THREADED,
    )
    assert ended.lines == ["2"]


def test_the_parent_s_reading_threads_are_not_the_child_s(run):
    """A parent whose 32 threads all hang leaves the child all of its own."""
    ended = run(
        """
        hung = MemoryStore("acme", OLD)
        hung.delay(FOREVER)
        for _ in range(32):
            exact(hung).refresh(wait=False)
        hung.wait_for_reads(32)
        auth = exact(MemoryStore("acme", NEW), timeout=2)
        os.waitpid(in_child(lambda: signer_of(auth.token())), 0)
        hung.release()
        """,
        first=CHILD,
        flags=THREADED,
    )
    assert ended.lines == ["new"]


def test_the_parent_s_reads_that_hang_are_not_the_child_s(run):
    """A parent whose four reads of one store hang leaves the child four of its own."""
    ended = run(
        """
        store = MemoryStore("acme", OLD)
        store.delay(FOREVER)
        auth = exact(store, timeout=0.05)

        def hang():
            for _ in range(6):
                try:
                    auth.refresh()
                except SourceUnavailable:
                    pass
            return store.reads

        print(hang(), flush=True)
        os.waitpid(in_child(hang), 0)
        store.release()
        """,
        first=CHILD,
        flags=THREADED,
    )
    assert ended.lines == ["4", "8"]


def test_a_look_of_the_parent_s_is_not_the_child_s(run):
    """What the parent's requests found out before the fork is no answer to the child's."""
    ended = run(
        """
        import httpx
        URL = "https://api.partner.example/"

        def answer(request):
            good = signer_of(request.headers["Authorization"][7:]) == accepted
            return httpx.Response(200 if good else 401, request=request)

        store, accepted = MemoryStore("acme", OLD), None
        auth = PartnerAuth(store, origins=URL)
        tries = auth.sync_auth_flow(httpx.Request("GET", URL))
        tries.send(answer(next(tries)))  # the store had nothing new, and the try is on its way

        def child():
            global accepted
            store.set(NEW)
            accepted = "new"
            with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as client:
                return client.get(URL).status_code

        os.waitpid(in_child(child), 0)
        """,
        first=CHILD,
    )
    assert ended.lines == ["200"]
