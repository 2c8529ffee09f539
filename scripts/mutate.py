"""Change the code a little, many times, and see the tests fail: `python scripts/mutate.py _cache`.

Each mutant is one change: a comparison, `and` for `or`, a number, a sum, a condition turned round, a
statement or a returned value left out. What no test notices is printed: write that test, or say why
the mutant is the same program (`EQUIVALENT`). Too slow for CI; `--seconds` bounds it, `--seed` draws.

The package and the tests are copied, and each mutant runs in a fork of a process that has imported
all but the package.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RULE = [f"tests/rule/test_{name}.py" for name in ("details", "recovery_rule", "collector")]
CACHE = [  # the quick ones first
    *(f"tests/concurrency/test_{name}.py" for name in ("states", "failed_reads", "landing")),
    *(f"tests/concurrency/test_{name}.py" for name in ("fingerprints", "own_source", "callbacks")),
    *RULE,
    "tests/concurrency/test_one_flight.py",
    "tests/concurrency/test_event_loops.py",
    "tests/core",
    "tests/concurrency",
    "tests/processes/test_forks.py",
    "tests/tools/test_opentelemetry.py",
]
DOORS = [
    *(f"tests/conformance/test_{name}.py" for name in ("signing", "errors", "rotation", "cookies")),
    *(f"tests/conformance/test_{name}.py" for name in ("bodies", "redirects", "refused_bodies")),
]
SOURCES = {
    "url": ["url"],
    "fields": ["fields", "url"],
    "document": ["fields", "env", "file"],
    "env": ["env"],
    "file": ["file", "url"],
    "regular": ["file", "env"],
    "static": ["static_chain"],
    "chain": ["static_chain"],
    "callable": ["static_chain"],
    "in_time": ["vault_in_time", "vault_trouble", "aws_errors", "aws_process"],
    "vault": ["vault", "vault_settings", "vault_trouble", "vault_lease", "vault_login"],
    "aws": ["aws", "aws_parameter_store", "aws_errors", "aws_agent", "aws_process"],
}
VAULT = ("answers", "lease", "login", "methods", "refusals", "settings", "visit", "wire")
AWS = ("agent", "client", "errors", "source")


def _of_sources(name: str) -> list[str]:
    return [f"tests/sources/test_{one}.py" for one in SOURCES[name]]


TESTS = {
    "_origins": [
        "tests/core/test_origins.py",
        "tests/security/test_origins_in_detail.py",
        "tests/security/test_origins_as_clients_see_them.py",
    ],
    "_tokens": ["tests/core/test_tokens.py", "tests/security/test_tokens_in_detail.py"],
    "_recovery": RULE,
    "_looks": RULE,
    "_places": RULE,
    "_cache": CACHE,
    "_held": CACHE,
    "_reads": CACHE,
    "_reader": CACHE,
    "_flight": CACHE,
    "_clock": ["tests/core", "tests/security/test_fuzz.py", *RULE],
    "_credentials": ["tests/core", "tests/security/test_leaks_of_objects.py"],
    "_door": DOORS,
    **{f"sources/_{name}": _of_sources(name) for name in SOURCES},
    "sources/_callable": [
        "tests/sources/test_static_chain.py",
        "tests/core/test_tokens.py",
        "tests/concurrency/test_event_loops.py",
    ],
    **{f"sources/_vault_{name}": _of_sources("vault") for name in VAULT},
    **{f"sources/_aws_{name}": _of_sources("aws") for name in AWS},
}
WARM = [
    "pytest",
    "hypothesis",
    "httpx",
    "httpx2",
    "requests",
    "jwt",
    "trio",
    "anyio",
    "cryptography",
]
HANGS = 20  # seconds for one test: what takes longer hangs, which is noticed, too
LIMIT = 150  # seconds for all tests of one mutant

# What is the same program to every caller, and why: by module, change and the line's text.
_UNIQUE = "the numbers of 401s and reads are never equal"
_UNREACHED = "a guard for what its callers see to"
_OVERWRITTEN = "set before it is read"
_FALSY = "as false as what it stands for"
_COST = "slower, and otherwise the same"
_GRAIN = "one value of a clock"
_OVERDUE = "what is overdue is given up before it is waited for"
EQUIVALENT = {
    "_looks: LtE -> Lt: if cache.reads.proven(FETCH_FRESH) <= since:": _UNIQUE,
    "_looks: LtE -> Lt: if may_ask and cache.reads.proven(ALTERNATES) <= since:": _UNIQUE,
    '_looks: Lt -> LtE: return (NOTHING if me.state == "refused" or me.arrived < look.proof else '
    "AGAIN), []": _UNIQUE,
    "_looks: Add -> Sub: look.proof = max(look.proof, cache.reads.proven(FETCH_FRESH), since + 1)": _UNIQUE,
    "_looks: 1 -> 0: look.proof = max(look.proof, cache.reads.proven(FETCH_FRESH), since + 1)": _UNIQUE,
    "_looks: 1 -> 2: look.proof = max(look.proof, cache.reads.proven(FETCH_FRESH), since + 1)": _UNIQUE,
    "_looks: condition turned: if place.rejected_since is None:": _UNREACHED,
    "_looks: Is -> IsNot: if place.rejected_since is None:": _UNREACHED,
    "_looks: left out: place.reject(now, cache.clock.now())": _UNREACHED,
    "_looks: returns None: return [], []": _UNREACHED,
    "_looks: Gt -> GtE: next_look = moment(due) if due > wall else None": _GRAIN,
    "_reads: 0.0 -> 1.0: return Wait(self, max(0.0, self.deadline - now))": _OVERDUE,
    "_reads: 0.0 -> -1.0: return Wait(self, max(0.0, self.deadline - now))": _OVERDUE,
    "_reads: 0 -> 1: return proof.order if proof is not None else 0": _UNIQUE,
    "_reads: 0 -> -1: return proof.order if proof is not None else 0": _UNIQUE,
    "_reads: Lt -> LtE: return read.order < self._newest": _UNIQUE,
    "_reads: 0 -> 1: self._newest = 0  # the order of the newest read that landed, or revoked": _UNIQUE,
    "_reads: 0 -> -1: self._newest = 0  # the order of the newest read that landed, or revoked": _UNIQUE,
    "_flight: Gt -> GtE: if isinstance(step.flight, Job) and step.seconds > _BEGINS_WITHIN:": _GRAIN,
    "_reads: Gt -> GtE: elif read.proves and read.order > self.proven(read.question):": _UNIQUE,
    "_held: 30 -> 31: grown, share = policy.backoff * 2 ** min(self._failures, 30), 1 - policy.jitter "
    "* _random()": "keeps the power finite: no pause is as long",
    "_held: 30 -> 29: grown, share = policy.backoff * 2 ** min(self._failures, 30), 1 - policy.jitter "
    "* _random()": "keeps the power finite: no pause is as long",
    "_held: 0 -> 1: if 0 < left < FOREVER:": "a second's jitter",
    "_held: 0 -> -1: if 0 < left < FOREVER:": "a second's jitter",
    **dict.fromkeys(
        (
            f"_held: {change}: {text}"
            for change in ("left out", "0.0 -> 1.0", "0.0 -> -1.0")
            for text in (
                "self._failed_at = 0.0",
                "self._pauses = (0.0, 0.0)  # after a failure: while something is held, while nothing is",
            )
        ),
        _OVERWRITTEN,
    ),
    "_cache: True -> False: self._stale_told = True": _OVERWRITTEN,
    "_cache: left out: self._stale_told = True": _OVERWRITTEN,
    "_cache: minus dropped: self._next_print = -FOREVER": _OVERWRITTEN,
    "_cache: Lt -> LtE: waits = read is not None and may_wait and (must_wait or now < patience)": _OVERDUE,
    "_cache: Gt -> GtE: if read is None or (read.proves and read.order > asked and not "
    "read.is_of_alternates):": _UNIQUE,
    "_cache: Gt -> GtE: if proof is not None and proof.order > since:  # it has ended since this was "
    "wanted": _UNIQUE,
    "_cache: Gt -> GtE: until = min(until, pause if pause > now else now + _LOOK_AGAIN)": _GRAIN,
    "_cache: Add -> Sub: until = min(until, pause if pause > now else now + _LOOK_AGAIN)": _COST,
    '_cache: and -> or: if read is None and self.reader.has("fingerprint"):': _COST,
    "_cache: max -> min: until = min(until, max(self._next_print, now))": _COST,
    "_flight: 0 -> -1: async with asyncio.timeout(max(seconds, 0)):  # `wait_for` would leave its task "
    "behind": "as much over",
    "_places: left out: self.known_since = self.trying_since = 0.0": _OVERWRITTEN,
    "_places: 0 -> 1: self.proof = 0  # the order of the one that did": _OVERWRITTEN,
    "_places: left out: ended.append(self.pause)": "whoever waits for it wakes by its own time",
    "_places: left out: self.proof = 0  # the order of the one that did": _OVERWRITTEN,
    "_places: 0 -> -1: self.proof = 0  # the order of the one that did": _OVERWRITTEN,
    "_places: 1.0 -> 2.0: self.told = -1.0  # the `next_look` that a WARNING named": _OVERWRITTEN,
    "_places: left out: self.trying_since = 0.0": _OVERWRITTEN,
    "_places: 0 -> 1: self.streak = 0": "only counts after an alarm, which sets it",
    "_places: 0.0 -> 1.0: self.next_look = 0.0": "as long ago",
    "_places: left out: self.alarm_at = 0.0": _OVERWRITTEN,
    "_places: 0.0 -> 1.0: self.alarm_at = 0.0": _OVERWRITTEN,
    "_places: minus dropped: self.told = -1.0  # the `next_look` that a WARNING named": _OVERWRITTEN,
    "_places: Gt -> GtE: if self.alarms and now - self.alarm_at > FORGOTTEN_AFTER:": _GRAIN,
    "_places: left out: self.pause = None": "it is over, and nobody is sent to it any more",
    "_recovery: True -> False: for scheme, rest in zip(parts[1::2], parts[2::2], strict=True)": (
        "they are pairs"
    ),
    "_recovery: 0 -> 1: self._answer = Answer(0)": _OVERWRITTEN,
    "_recovery: 0 -> -1: self._answer = Answer(0)": _OVERWRITTEN,
    "_recovery: left out: steps.close()": "it is over",
    "sources/_fields: 0.0 -> 1.0: return min(one, other, key=lambda time: epoch(time) or 0.0)": _GRAIN,
    "sources/_document: False -> True: return False  # whoever reads it says what is wrong": (
        "either way it is read, and refused"
    ),
    'sources/_document: 2 -> 0: high = raw[3::2] if raw.startswith(b"\\xff\\xfe") else raw[2::2]': (
        "one byte more, of the mark"
    ),
    'sources/_document: 1024 -> 1023: raise CredentialInvalid(f"it is longer than {LIMIT // 1024} '
    'KiB, which no credential is")': "64, too",
    "sources/_vault_lease: GtE -> Gt: return self._is_ours_to_keep and self._age(now) >= _RENEW_AT": _GRAIN,
    "sources/_vault_lease: 0.0 -> -1.0: return 0.0 if self.life is None else (now - self.since) / "
    "self.life": "as young",
    "sources/_aws_agent: 16384 -> 16383: _TOKEN_LIMIT = 16_384": "no token is as long",
    "sources/_aws_agent: 16384 -> 16385: _TOKEN_LIMIT = 16_384": "no token is as long",
    "sources/_aws_source: left out: raise NotImplementedError": "each source has its own",
    'sources/_aws_errors: 0 -> 1: status = error.response.get("ResponseMetadata", {}).get('
    '"HTTPStatusCode", 0)': "below every status",
    "_reader: LtE -> Lt: if expires is not None and expires <= self._clock.now() + _LEAST_LIFE:": _GRAIN,
    "_tokens: left out: _signers[algorithm] = signer": _COST,
    '_tokens: left out: self.until = float("inf")': _OVERWRITTEN,
    '_tokens: left out: kind = ""': _OVERWRITTEN,
    '_tokens: left out: fault = ""': _OVERWRITTEN,
    '_origins: returns None: return ""': _FALSY,
}

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
SUMS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """One change: where, what, and the changed module."""

    module: str
    line: int
    text: str
    change: str
    code: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.change:<28} {self.text}"


class Change(NamedTuple):
    """What is done to the node of this number."""

    number: int
    name: str
    replacement: ast.AST | None


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:  # noqa: C901, PLR0912  a table
    """Return the changes of one node: their names, and what comes in its place."""
    match node:
        case ast.Compare(ops=[operator]):
            for other in COMPARISONS.get(type(operator), []):
                yield _named(operator, other), _with(node, ops=[other()])
        case ast.BoolOp(op=ast.And()):
            yield "and -> or", _with(node, op=ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield "or -> and", _with(node, op=ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield "not dropped", node.operand
        case ast.UnaryOp(op=ast.USub()):
            yield "minus dropped", node.operand
        case ast.BinOp(op=operator) if type(operator) in SUMS:
            other = SUMS[type(operator)]
            yield _named(operator, other), _with(node, op=other())
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            for changed in {value + 1, value - 1, 0} - {value}:
                yield f"{value} -> {changed}", ast.Constant(changed)
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            yield f"{name} -> {NAMES[name]}", _with(node, func=ast.Name(NAMES[name], ast.Load()))
        case ast.IfExp():
            yield "branches exchanged", _with(node, body=node.orelse, orelse=node.body)
        case ast.If() | ast.While():
            yield "condition turned", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Return(value=value) if value is not None and not _says_no(value):
            yield "returns None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield "left out", ast.Pass()
        case ast.Assign() | ast.AugAssign() | ast.Delete() | ast.Raise():
            yield "left out", ast.Pass()
        case ast.Break() | ast.Continue():
            yield "left out", ast.Pass()
        case _:
            return


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _named(one: ast.AST, other: type[ast.AST]) -> str:
    return f"{type(one).__name__} -> {other.__name__}"


def _says_no(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)


class _Numbered(ast.NodeTransformer):
    """Walks over what runs, in one order, and changes the node of one number."""

    def __init__(self, change: Change | None = None) -> None:
        self.found: list[tuple[Change, int]] = []
        self._change = change
        self._number = 0
        self._depth = 0

    def visit(self, node: ast.AST) -> Any:
        number, self._number = self._number, self._number + 1
        if self._change is None:
            self.found += [
                (Change(number, *one), getattr(node, "lineno", 0)) for one in self._of(node)
            ]
        elif self._change.number == number:
            new = self._change.replacement
            return ast.copy_location(new, node) if new is not None else None
        return super().visit(node)

    def _of(self, node: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
        return changes(node) if self._depth or not isinstance(node, ast.stmt) else iter(())

    def _function(self, node: Any) -> Any:
        if node.name in ("__repr__", "__str__"):
            return node
        self._depth += 1
        node.body = [one for statement in node.body if (one := self.visit(statement)) is not None]
        self._depth -= 1
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        return self._function(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_If(self, node: ast.If) -> Any:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node
        return self.generic_visit(node)


def mutants(module: str) -> list[Mutant]:
    """Return all mutants of a module of the package."""
    source = (ROOT / "partner_auth" / f"{module}.py").read_text(encoding="utf-8")
    lines = source.splitlines()
    numbered = _Numbered()
    numbered.visit(ast.parse(source))
    made = []
    for change, line in numbered.found:
        tree = ast.fix_missing_locations(_Numbered(change).visit(ast.parse(source)))
        text = lines[line - 1].strip() if line else ""
        made.append(Mutant(module, line, text, change.name, ast.unparse(tree)))
    return made


# -- trying them


def copied(folder: Path) -> None:
    """Copy what the tests need, so that nobody's own files are touched."""
    skipped = shutil.ignore_patterns("__pycache__", "node_modules", ".*")
    for name in ("partner_auth", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)


def verdict(folder: Path, mutant: Mutant | None, module: str) -> str:
    """Run the tests in a child; return "killed", "survived" or "hung"."""
    child = os.fork()
    if not child:
        try:
            code = _in_child(folder, mutant, module)
        except BaseException:
            traceback.print_exc()
            code = 99
        os._exit(code)
    began = time.monotonic()
    while time.monotonic() - began < LIMIT:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return "survived" if status == 0 else "killed"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


def _in_child(folder: Path, mutant: Mutant | None, module: str) -> int:
    import pytest

    os.setsid()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    if mutant is not None:
        (folder / "partner_auth" / f"{module}.py").write_text(mutant.code, encoding="utf-8")
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    tests = [name for name in TESTS[module] if (folder / name).exists()]
    known = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "-W", known]
    options += ["-o", f"faulthandler_timeout={HANGS}"]  # which ends the child
    return int(pytest.main([*options, *tests]))


def tried(module: str, until: float, dice: random.Random, folder: Path) -> tuple[Counter, list]:
    """Try mutants of a module, drawn at random, until a moment; return counts and survivors."""
    counts: Counter[str] = Counter()
    survivors: list[Mutant] = []
    drawn = mutants(module)
    dice.shuffle(drawn)
    path = folder / "partner_auth" / f"{module}.py"
    original = path.read_text(encoding="utf-8")
    if verdict(folder, None, module) != "survived":
        raise SystemExit(
            f"{module}: the tests fail as it is:\n{(folder / 'output.txt').read_text()}"
        )
    for mutant in drawn:
        if time.monotonic() > until:
            break
        if f"{module}: {mutant.change}: {mutant.text}" in EQUIVALENT:
            counts["equivalent"] += 1
            continue
        outcome = verdict(folder, mutant, module)
        path.write_text(original, encoding="utf-8")
        counts[outcome] += 1
        if outcome == "survived":
            survivors.append(mutant)
            print(mutant, flush=True)
    print(f"{module}: {len(drawn)} mutants, of which {dict(counts)} were tried", flush=True)
    return counts, survivors


def main() -> int:
    """Try the mutants of the modules that are named, and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--seconds", type=float, default=900.0, help="for all modules together")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    for name in WARM:
        importlib.import_module(name)
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        for index, module in enumerate(arguments.modules):
            left = arguments.seconds * (index + 1) / len(arguments.modules)
            until = _BEGAN + left
            total += tried(module, until, random.Random(arguments.seed), Path(folder))[0]
    noticed = total["killed"] + total["hung"]
    print(f"noticed: {noticed} of {noticed + total['survived']}, {dict(total)}")
    return 0


_BEGAN = time.monotonic()

if __name__ == "__main__":
    raise SystemExit(main())
