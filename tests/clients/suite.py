"""The tests of the conformance suite, for a module that runs them with a client of its own."""

from collections.abc import Callable, Iterable

from tests.conformance import (
    test_cookies,
    test_redirects,
    test_refused_bodies,
    test_rotation,
    test_signing,
)

MODULES = (test_cookies, test_redirects, test_refused_bodies, test_rotation, test_signing)


def all_but(otherwise: dict[str, Iterable[str]]) -> dict[str, Callable[..., None]]:
    """Return all but those that are named, each under the reason that it does not hold."""
    found = {
        name: test
        for module in MODULES
        for name, test in vars(module).items()
        if name.startswith("test_")
    }
    left_out = set().union(*otherwise.values())
    assert left_out <= found.keys(), left_out - found.keys()  # no name outlives its test
    return {name: test for name, test in found.items() if name not in left_out}
