"""What one object of thousands costs: a tenant each is no burden."""


def test_an_object_that_holds_a_token_takes_less_than_4_kb(run):
    """What it read for it, the source and the credential are counted; what all share is not."""
    program = """
        import tracemalloc

        class Store:
            def fetch(self):
                return Credential("acme", OLD)

        def made():
            auth = PartnerAuth(Store(), origins="https://api.partner.example")
            auth.token()
            return auth

        def quiet():
            while threading.active_count() > 1:  # daemons that read
                time.sleep(0.001)

        made()
        quiet()
        tracemalloc.start()
        held = [made() for _ in range(300)]
        quiet()
        print(tracemalloc.get_traced_memory()[0] / len(held))
    """
    (size,) = run(program).lines
    assert float(size) < 4_096
