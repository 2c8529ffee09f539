"""Sources without a store: a credential at hand, a function, and several sources in a row."""

import asyncio
import copy
import functools
import inspect
import pickle
import time

import pytest

from partner_auth._credentials import Credential
from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.sources import (
    ChainSource,
    CredentialSource,
    EnvSource,
    FileSource,
    StaticSource,
    as_source,
)

KEY = "tdVbYHdm3T4OSi1yDu8sAOq5GCZjY3GR"


def credential(name="acme", **more):
    """Return a credential whose client id tells them apart."""
    return Credential(name, KEY, **more)


def load():
    """Return a credential, as a user's function does."""
    return credential("loaded")


async def load_later():
    """Return one after a while."""
    await asyncio.sleep(0)
    return credential("later")


class Store:
    """A source that does what it is told, and remembers what it was asked."""

    absence_is_transient = False

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __repr__(self):
        return "Store()"

    def answer(self, verb):
        self.asked.append(verb)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def fetch(self):
        return self.answer("fetch")


class CachingStore(Store):
    """One with all that a source may have."""

    absence_is_transient = True

    def fetch_fresh(self):
        return self.answer("fetch_fresh")

    def alternates(self):
        return [credential("alternate")]

    def fingerprint(self):
        return "a mark"


class LaterStore(Store):
    """One that answers in a coroutine."""

    async def fetch(self):
        await asyncio.sleep(0)
        return self.answer("fetch")


def missing(reason="not_found"):
    """Return what a store says that has nothing."""
    return SourceRejected(f"it is {reason}", reason=reason)


def client_id(source, verb="fetch"):
    """Return the client id that a source gives, at once or later."""
    answer = getattr(source, verb)()
    return (asyncio.run(awaited(answer)) if inspect.isawaitable(answer) else answer).client_id


async def awaited(answer):
    """Wait for it."""
    return await answer


def test_a_static_source_gives_what_it_was_given():
    """Credential and alternates, as they are."""
    now, following = credential("now"), credential("following")
    source = StaticSource(now, following)
    assert source.fetch() is now
    assert list(source.alternates()) == [following]
    assert list(StaticSource(now).alternates()) == []


def test_a_static_source_shows_no_key():
    """Its repr is that of the credential."""
    assert repr(StaticSource(credential())) == "StaticSource(Credential('acme', Secret('…')))"


def test_a_static_source_is_not_pickled():
    """A pickle would carry the secret; the message says what to use."""
    with pytest.raises(TypeError, match=r"can't be pickled.*use a source that reads it") as caught:
        pickle.dumps(StaticSource(credential()))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_static_source_is_itself(copied):
    """It never changes."""
    source = StaticSource(credential())
    assert copied(source) is source


@pytest.mark.parametrize(
    "given", [(KEY,), (None,), (credential(), KEY), (credential(), ("a", KEY))]
)
def test_a_static_source_takes_credentials_alone(given, refusal):
    """The type of anything else is named, not its value."""
    error = refusal(ConfigurationError, lambda: StaticSource(*given), KEY)
    assert f"not {type(given[-1]).__name__}" in str(error)


SOURCES = {
    "source": (EnvSource("ACME_"), "EnvSource('ACME_')"),
    "URL": ("env://ACME_", "EnvSource('ACME_')"),
    "credential": (credential(), "StaticSource(Credential('acme', Secret('…')))"),
    "third party": (Store(credential()), "Store()"),
    "function": (load, f"CallableSource({__name__}.load)"),
    "coroutine function": (load_later, f"CallableSource({__name__}.load_later)"),
    "method": (Store(credential()).fetch, f"CallableSource({__name__}.Store.fetch)"),
    "partial": (functools.partial(credential, KEY), f"CallableSource({__name__}.credential)"),
    "nested partial": (
        functools.partial(functools.partial(max, 1), 2),
        "CallableSource(builtins.max)",
    ),
    "method in C": (load.__call__, "CallableSource(builtins.function.__call__)"),
    "lambda": (lambda: None, f"CallableSource({__name__}.<lambda>)"),
}


@pytest.mark.parametrize("given, source", SOURCES.values(), ids=SOURCES.keys())
def test_a_source_is_made_of_what_users_pass(given, source):
    """Its repr names it in errors, without arguments and addresses."""
    made = as_source(given)
    assert repr(made) == source
    assert isinstance(made, CredentialSource)


class Caller:
    """A callable object."""

    def __call__(self):
        """Return a credential."""
        return credential("called")


@pytest.mark.parametrize(
    "function, expected",
    [
        (load, "loaded"),
        (load_later, "later"),
        (Caller(), "called"),
        (functools.partial(credential, "bound"), "bound"),
        (lambda name="default": credential(name), "default"),
    ],
    ids=["function", "coroutine function", "object", "partial", "default argument"],
)
def test_a_function_is_asked_at_each_fetch(function, expected):
    """Plain or `async`, whatever can be called without arguments."""
    assert client_id(as_source(function)) == expected


NO_SOURCES = {
    "text": (KEY, "no source URL"),
    "bytes": (KEY.encode(), "not bytes"),
    "None": (None, "not NoneType"),
    "number": (7, "not int"),
    "dict": ({"secret_key": KEY}, "not dict"),
    "tuple": (("acme", KEY), "not tuple"),
    "secret": (credential().secret_key, "not Secret"),
    "source class": (EnvSource, "EnvSource is a class"),
    "class": (Credential, "Credential is a class"),
    "function": (lambda a: a, "can't be called without arguments"),
    "partial": (functools.partial(lambda a, b: a + b, KEY), "can't be called without arguments"),
    "URL": (f"vault://secret/x?token={KEY}", "holds no secret"),
}


@pytest.mark.parametrize("given, said", NO_SOURCES.values(), ids=NO_SOURCES.keys())
@pytest.mark.parametrize("take", [as_source, ChainSource])
def test_what_is_no_source_is_named_by_its_type(take, given, said, refusal):
    """It may be the secret itself, so that neither the message nor a frame shows it."""
    error = refusal(ConfigurationError, lambda: take(given), KEY)
    assert said in str(error)


@pytest.mark.parametrize("answer", [KEY, ("acme", KEY), None], ids=["text", "tuple", "None"])
@pytest.mark.parametrize("later", [False, True], ids=["plain", "async"])
def test_a_function_returns_a_credential(answer, later, refusal):
    """What else it returns is named by its type."""

    async def give_later():
        return answer

    def fetch():
        found = as_source(give_later if later else lambda: answer).fetch()
        return asyncio.run(awaited(found)) if later else found

    error = refusal(ConfigurationError, fetch, KEY)
    assert f"returned {type(answer).__name__}: return a partner_auth.Credential" in str(error)


def test_what_a_function_raises_is_passed_on():
    """Errors of ours keep their meaning, the cache sorts the others."""

    def fail():
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - it has no text
        as_source(fail).fetch()


def test_a_function_of_a_module_is_pickled():
    """By its name, as pickle does."""
    unpickled = pickle.loads(pickle.dumps(as_source(time.time)))
    assert repr(unpickled) == "CallableSource(time.time)"


def test_a_function_within_another_is_not_pickled():
    """The message says what to use."""
    with pytest.raises(TypeError, match="use a function at the top level of a module"):
        pickle.dumps(as_source(lambda: None))


@pytest.mark.parametrize("reason", ["not_found", "not_configured"])
def test_a_chain_goes_on_where_there_is_nothing(reason):
    """The next source is asked, and only then."""
    first, second, third = Store(missing(reason)), Store(credential("second")), Store(credential())
    assert client_id(ChainSource(first, second, third)) == "second"
    assert (first.asked, second.asked, third.asked) == (["fetch"], ["fetch"], [])


@pytest.mark.parametrize(
    "error",
    [
        SourceUnavailable("down"),
        SourceRejected("denied"),
        SourceRejected("deleted", reason="deleted"),
        SourceRejected("destroyed", reason="destroyed"),
        CredentialInvalid("broken"),
        ConfigurationError("wrong"),
        OSError("odd"),
    ],
    ids=str,
)
def test_a_chain_stops_where_something_is_wrong(error):
    """An outage of the first source must not bring the second one's old secret into use."""
    second = Store(credential())
    with pytest.raises(type(error)) as caught:
        ChainSource(Store(error), second).fetch()
    assert caught.value is error
    assert second.asked == []


@pytest.mark.parametrize(
    "reasons, reason",
    [
        (["not_configured", "not_configured"], "not_configured"),
        (["not_found", "not_configured"], "not_found"),
        (["not_configured", "not_found"], "not_found"),
    ],
    ids=str,
)
def test_a_chain_without_anything_says_what_each_said(reasons, reason, refusal):
    """Its error has the texts of all, and is "not configured" only if all are."""
    chain = ChainSource(*(Store(missing(each)) for each in reasons))
    error = refusal(SourceRejected, chain.fetch)
    assert error.reason == reason
    assert all(f"it is {each}" in str(error) for each in reasons)


def test_a_chain_is_asked_from_its_beginning_each_time():
    """A source that has something now takes over."""
    chain = ChainSource(Store(missing(), credential("first")), Store(credential("second")))
    assert [client_id(chain), client_id(chain)] == ["second", "first"]


def test_a_chain_asks_past_the_caches_in_between():
    """fetch_fresh where a source has it, else fetch."""
    plain, caching = Store(missing()), CachingStore(credential("fresh"))
    chain = ChainSource(plain, caching)
    assert client_id(chain, "fetch_fresh") == "fresh"
    assert (plain.asked, caching.asked) == (["fetch"], ["fetch_fresh"])


def test_a_chain_s_alternates_are_those_of_the_one_that_answered():
    """Before any answer, and where that source has none, there are none."""
    chain = ChainSource(Store(missing(), credential()), CachingStore(credential()))
    assert list(chain.alternates()) == []
    chain.fetch()
    assert [alternate.client_id for alternate in chain.alternates()] == ["alternate"]
    chain.fetch()
    assert list(chain.alternates()) == []


def test_whether_absence_is_transient_is_up_to_the_one_that_answered():
    """A file that goes away is "not now", a secret that a store no longer has is gone."""
    chain = ChainSource(CachingStore(missing(), credential(), missing()), Store(credential()))
    seen = [chain.absence_is_transient]
    for _ in range(3):
        chain.fetch()
        seen.append(chain.absence_is_transient)
    assert seen == [False, False, True, False]


def test_a_chain_s_fingerprint_covers_all_of_it(tmp_path):
    """A file that appears at the front of the chain is seen, and a broken fingerprint is none."""

    class Odd(Store):
        def fingerprint(self):
            raise OSError

    chain = ChainSource(FileSource(tmp_path / "x"), Odd(missing()), Store(credential()))
    before = chain.fingerprint()
    assert chain.fingerprint() == before
    chain.fetch()
    assert chain.fingerprint() == before
    (tmp_path / "x").touch()
    assert chain.fingerprint() != before


@pytest.mark.parametrize(
    "stores, expected",
    [
        ([Store(missing()), LaterStore(credential("later"))], "later"),
        ([LaterStore(missing()), Store(credential("plain"))], "plain"),
        ([LaterStore(missing()), LaterStore(missing()), LaterStore(credential("last"))], "last"),
    ],
    ids=["plain, async", "async, plain", "async"],
)
def test_a_chain_may_hold_coroutine_sources(stores, expected):
    """Whichever of them answers later, the chain does so too."""
    chain = ChainSource(*stores)
    assert client_id(chain) == expected


def test_alternates_come_from_the_coroutine_source_that_answered():
    """Not from one that had nothing, nor from the last."""

    class Alternating(LaterStore):
        def alternates(self):
            return [credential("its own")]

    chain = ChainSource(LaterStore(missing()), Alternating(credential()), CachingStore(missing()))
    client_id(chain)
    assert [one.client_id for one in chain.alternates()] == ["its own"]


def test_a_chain_of_coroutine_sources_stops_where_something_is_wrong():
    """Likewise."""
    last = Store(credential())
    with pytest.raises(SourceUnavailable):
        client_id(ChainSource(LaterStore(SourceUnavailable("down")), last))
    with pytest.raises(SourceRejected, match="denied"):
        client_id(ChainSource(LaterStore(SourceRejected("denied")), last))
    assert last.asked == []


def test_a_chain_of_coroutine_sources_without_anything_says_so(refusal):
    """Likewise, without an error behind it."""
    chain = ChainSource(LaterStore(missing()), LaterStore(missing("not_configured")))
    error = refusal(SourceRejected, lambda: client_id(chain))
    assert "it is not_found; it is not_configured" in str(error)


def test_a_chain_takes_what_partner_auth_takes():
    """URLs, credentials and functions, in one line; its repr lists them."""
    chain = ChainSource("env://ACME_", load, credential())
    assert repr(chain) == (
        f"ChainSource(EnvSource('ACME_'), CallableSource({__name__}.load), "
        "StaticSource(Credential('acme', Secret('…'))))"
    )


def test_a_chain_has_at_least_one_source(refusal):
    """An empty one is a mistake in the caller's code."""
    refusal(ConfigurationError, ChainSource)


def test_a_pickled_chain_is_asked_anew():
    """Its sources go along, not which of them answered."""
    chain = ChainSource("env://ACME_", "file:///run/secrets/partner")
    unpickled = pickle.loads(pickle.dumps(chain))
    assert repr(unpickled) == repr(chain)
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(ChainSource("env://", credential()))
