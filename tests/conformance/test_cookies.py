"""Cookies of a 401: some partners insist on seeing theirs again."""


def test_the_cookie_of_a_refusal_goes_into_the_resend(client, partner):
    """With a request that had none."""
    partner.cookies("session", "1")
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.headers["Cookie"] for one in partner.requests] == [None, "session=1"]


def test_the_cookie_of_a_refusal_goes_into_the_jar(client, partner):
    """The next request brings it at once."""
    partner.cookies("session", "1")
    client.get(f"{partner.url}/portfolio")
    client.get(f"{partner.url}/portfolio")
    assert [one.status for one in partner.requests] == [401, 200, 200]
    assert client.cookies == {"session": "1"}


def test_the_cookie_of_a_refusal_that_goes_back_goes_into_the_jar(client, partner):
    """As if nothing had been read of it."""
    partner.cookies("session", "1")
    partner.reject()
    got = client.get(f"{partner.url}/portfolio")
    assert (got.status_code, dict(got.cookies)) == (401, {"session": "1"})
    assert client.cookies == {"session": "1"}


def test_the_cookies_of_the_jar_stay(client, partner):
    """Beside the new one."""
    partner.cookies("session", "1")
    client.get(f"{partner.url}/portfolio")
    partner.cookies("other", "2")
    partner.clear()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert set(partner.requests[1].headers["Cookie"].split("; ")) == {"session=1", "other=2"}


def test_a_newer_value_takes_the_place_of_the_older(client, partner):
    """The jar's cookie is sent once, as the 401 set it."""
    partner.cookies("session", "1")
    client.get(f"{partner.url}/portfolio")
    partner.cookies("session", "2")
    partner.clear()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert partner.requests[1].headers.get_all("Cookie") == ["session=2"]


def test_a_cookie_header_of_the_caller_stays(client, partner):
    """It was written by hand; the 401's cookie goes beside it."""
    partner.cookies("session", "1")
    got = client.get(f"{partner.url}/portfolio", headers={"Cookie": "mine=a; theirs=b"})
    assert got.status_code == 200
    assert partner.requests[1].headers.get_all("Cookie") == ["mine=a; theirs=b; session=1"]


def test_a_cookie_header_of_the_caller_stays_without_any_cookie(client, partner):
    """The plainest resend changes nothing of it."""
    partner.rotate()
    client.get(f"{partner.url}/portfolio", headers={"Cookie": "mine=a"})
    assert [one.headers["Cookie"] for one in partner.requests] == ["mine=a", "mine=a"]


def test_the_cookie_of_a_refused_hop_goes_into_its_resend(client, partner):
    """After a redirect, where clients build the header anew."""
    partner.public("/old")
    partner.redirect("/old", "/portfolio")
    partner.cookies("session", "1")
    assert client.get(f"{partner.url}/old").status_code == 200
    assert [one.headers["Cookie"] for one in partner.requests] == [None, None, "session=1"]
    assert client.cookies == {"session": "1"}
