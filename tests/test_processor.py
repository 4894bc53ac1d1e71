"""Products by oneDNN are those of torch: the same values, gradients, errors and shapes.

The override holds for a whole process, so every program runs in a process of its own, a fork
of one that has loaded torch; the reference is computed there before `prepare`.
"""

import json
import subprocess
import sys

import pytest

from tests.imports import ROOT

HELPERS = """
import itertools, warnings
import torch
from stages.runtime.loading import processor

assert torch.backends.mkldnn.is_available(), "this torch has no oneDNN"
torch.manual_seed(0)
torch.set_num_threads(1)

def prepare():
    processor.prepare(1)

def near(found, wanted):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    error = (found.double() - wanted.double()).norm() / wanted.double().norm()
    assert error < 1e-5, error

def same(found, wanted):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    assert torch.equal(found, wanted)

def compare(check, *asks):
    '''The answers before and after the override.'''
    wanted = [ask() for ask in asks]
    prepare()
    for ask, values in zip(asks, wanted):
        found = ask()
        values = values if isinstance(values, tuple) else (values,)
        found = found if isinstance(found, tuple) else (found,)
        assert len(found) == len(values)
        for a, b in zip(found, values):
            check(a, b)

def calls(ask):
    '''How often `ask` calls oneDNN.'''
    from torch.profiler import ProfilerActivity, profile
    with profile(activities=[ProfilerActivity.CPU]) as log:
        ask()
    return sum(event.count for event in log.key_averages() if "_linear_pointwise" in event.key)

def fails(ask):
    try:
        ask()
    except RuntimeError:
        return True
    return False

big = 128
assert big ** 2 > processor.SMALLEST
a, b, bias = torch.randn(big, 160), torch.randn(160, 144), torch.randn(144)
"""

PROGRAMS = {
    "products with and without a term are those of torch": """
compare(near, lambda: a @ b, lambda: torch.mm(a, b), lambda: torch.addmm(bias, a, b))
assert calls(lambda: a @ b) == calls(lambda: torch.addmm(bias, a, b)) == 1
""",
    "a layer has the same values and gradients": """
def layer(has_bias, shape, reduce):
    made = torch.nn.Linear(160, 144, bias=has_bias)
    given = torch.randn(*shape, 160, requires_grad=True)
    def ask():
        made.zero_grad()
        given.grad = None
        said = made(given)
        reduce(said).backward()
        grads = tuple(p.grad.clone() for p in made.parameters())
        return (said.detach(), given.grad.clone(), *grads)
    return ask

square = lambda y: (y ** 2).sum()
# the gradient of a plain sum is one number, expanded with strides of 0
asks = [layer(*how) for how in itertools.product(
    (True, False), ((128,), (8, 32)), (square, torch.sum, torch.mean))]
compare(near, *asks)
assert min(calls(ask) for ask in asks) >= 2
""",
    "operands may lie in memory in any way": """
wide, tall = torch.randn(160, 128), torch.randn(144, 160)
gaps, back = torch.randn(128, 320), torch.randn(160, 288)
row, one = torch.randn(1, 160), torch.randn(160, 1)
part = torch.randn(200, 200)
compare(
    near,
    lambda: wide.t() @ b, lambda: a @ tall.t(), lambda: wide.t() @ tall.t(),
    lambda: gaps[:, ::2] @ back[:, ::2], lambda: a.flip(0) @ b.flip(1),
    lambda: row.expand(128, 160) @ b, lambda: a @ one.expand(160, 144),
    lambda: part[5:133, 7:167] @ part[40:, 3:147].contiguous(),
    lambda: part[5:133, 7:167] @ part[40:, 3:147],
    lambda: torch.addmm(bias, wide.t(), tall.t()),
    lambda: (a.requires_grad_() @ b).detach(),
)
""",
    "a row, a column and an inner dimension of one are products too": """
long = torch.randn(1, 2048), torch.randn(2048, 1024)
col = torch.randn(2048, 1024), torch.randn(1024, 1)
outer = torch.randn(2048, 1), torch.randn(1, 1024)
compare(near, lambda: long[0] @ long[1], lambda: col[0] @ col[1], lambda: outer[0] @ outer[1],
        lambda: torch.addmm(bias[:1], *col))
assert calls(lambda: long[0] @ long[1]) == 1
""",
    "a term of another shape or stride is added as torch adds it": """
terms = [torch.randn(1), torch.tensor(2.0), torch.randn(128, 144), torch.randn(128, 1),
         torch.randn(1, 144), torch.randn(1).expand(144), bias.repeat_interleave(2)[::2],
         torch.randn(160, 144)[7], torch.randn(144, 160)[:, 7]]
compare(near, *[lambda t=t: torch.addmm(t, a, b) for t in terms])
""",
    "factors of the term and of the product count": """
asks = [lambda k=k: torch.addmm(bias, a, b, **k) for k in (
    {"beta": 0.5}, {"alpha": 2.0}, {"beta": 0}, {"alpha": 0}, {"beta": 2, "alpha": -1})]
compare(near, *asks)
nan = torch.full((144,), float("nan"))  # beta = 0 does not read the term
assert torch.addmm(nan, a, b, beta=0).isfinite().all()
""",
    "other types stay what they were, bit for bit": """
kinds = (torch.float64, torch.bfloat16)
x = {k: (a.to(k), b.to(k), bias.to(k)) for k in kinds}
whole = torch.randint(-9, 9, (128, 160)), torch.randint(-9, 9, (160, 144))
cast = lambda: torch.mm(a, b)
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        return cast()
asks = [lambda k=k: x[k][0] @ x[k][1] for k in kinds]
asks += [lambda k=k: torch.addmm(x[k][2], x[k][0], x[k][1]) for k in kinds]
asks += [lambda: whole[0] @ whole[1], autocast]
compare(same, *asks)
assert [calls(ask) for ask in asks[:5]] == [0] * 5
""",
    "small products go the usual way, bit for bit": """
# LoRA: 64 tokens, width 128, rank 2 to 8
x, down, up = torch.randn(64, 128), torch.randn(2, 128), torch.randn(128, 2)
asks = [lambda: x @ down.t(), lambda: (x @ down.t()) @ up.t(),
        lambda: torch.addmm(torch.ones(128), x @ down.t(), up.t())]
compare(same, *asks)
assert [calls(ask) for ask in asks] == [0, 0, 0]
""",
    "the smallest product that is worth a call": """
weight = torch.randn(128, processor.SMALLEST // 128)
prepare()
for rows in (1, 64, 4096):  # however many: else a row's values would depend on the others
    given = torch.randn(rows, 128)
    assert calls(lambda: given @ weight) == 1
    assert calls(lambda: given @ weight[:, :-1]) == 0
""",
    "a low-rank layer on many tokens": """
x = torch.randn(4096, 256, requires_grad=True)
down, up = torch.nn.Linear(256, 4, bias=False), torch.nn.Linear(4, 256, bias=False)
def ask():
    x.grad = None
    down.zero_grad(), up.zero_grad()
    said = up(down(x)) * 2
    (said ** 2).mean().backward()
    return said.detach(), x.grad.clone(), down.weight.grad.clone(), up.weight.grad.clone()
compare(near, ask)
assert calls(ask) >= 2  # the gradients, whose inner dimension are the tokens
""",
    "operands without an element": """
none = torch.randn(0, 160), torch.randn(128, 0), torch.randn(0, 144), torch.randn(160, 0)
asks = [lambda: none[0] @ b, lambda: none[1] @ none[2], lambda: a @ none[3],
        lambda: torch.addmm(bias, none[0], b), lambda: torch.addmm(bias, none[1], none[2])]
compare(same, *asks)
""",
    "operands that do not fit are refused as before": """
prepare()
tall = torch.randn(2048, 256)
assert fails(lambda: tall @ tall)
assert fails(lambda: torch.mm(a, b[:-1]))
assert fails(lambda: torch.addmm(bias[:-1], a, b))
assert fails(lambda: torch.addmm(torch.randn(145), a, b))
assert fails(lambda: torch.mm(a, b.double()))
assert fails(lambda: torch.addmm(bias.double(), a, b))
assert fails(lambda: torch.mm(a, torch.randn(2, 160, 144)))
assert fails(lambda: torch.mm(torch.randn(2, 160, 144), b))
assert fails(lambda: torch.mm(a, torch.randn(160)))
""",
    "what is not a number stays none": """
x = a.clone()
x[3, 5], x[7, 2] = float("nan"), float("inf")
prepare()
found = x @ b
assert found[3].isnan().all() and not found[7].isfinite().any()
assert found[[i for i in range(128) if i not in (3, 7)]].isfinite().all()
""",
    "gradients of gradients, and modes without any": """
x, w = torch.randn(128, 160, requires_grad=True), torch.randn(160, 144, requires_grad=True)
def twice():
    (first,) = torch.autograd.grad(((x @ w) ** 3).sum(), x, create_graph=True)
    return torch.autograd.grad((first ** 2).sum(), (x, w))
def quiet(mode):
    with mode():
        return (x @ w).clone()
compare(near, twice, lambda: quiet(torch.no_grad).detach())
with torch.inference_mode():
    near(x @ w, (x.double() @ w.double()).float())
near(torch.func.vmap(lambda row: row @ w)(x).detach(), (x.double() @ w.double()).float().detach())
""",
    "the same product has the same bits": """
prepare()
first = a @ b
assert all(torch.equal(a @ b, first) for _ in range(5))
""",
    "to prepare twice is to prepare once, and the last number of threads holds": """
with warnings.catch_warnings():
    warnings.simplefilter("error")
    processor.prepare(2)
    assert torch.get_num_threads() == 2
    processor.prepare(1)
assert torch.get_num_threads() == 1
near(a @ b, (a.double() @ b.double()).float())
assert calls(lambda: a @ b) == 1
""",
    "what is left to torch has torch's bits, within the block": """
ask = lambda: a @ b
wanted = ask()
prepare()
with processor.usual_products():
    with processor.usual_products():
        assert calls(ask) == 0
    assert calls(ask) == 0
    same(ask(), wanted)
assert calls(ask) == 1
try:
    with processor.usual_products():
        raise KeyError
except KeyError:
    assert calls(ask) == 1
""",
    "a row has the same bits in any company": """
prepare()
many, layers = torch.randn(4096, 160), [torch.nn.Linear(160, n) for n in (24, 144, 512)]
for layer in layers:
    with torch.inference_mode():
        whole = layer(many)
        for rows in (16, 48, 112, 1008):
            same(layer(many[:rows]), whole[:rows])
""",
    "a torch without oneDNN only gets its threads": """
torch.backends.mkldnn.is_available = lambda: False
wanted = a @ b
processor.prepare(2)
assert torch.get_num_threads() == 2
torch.set_num_threads(1)
same(a @ b, wanted)
assert calls(lambda: a @ b) == 0
""",
}


FORKS = """
import json, os, sys, traceback
errors = {}
for name, program in json.load(sys.stdin).items():
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        try:
            exec(program, globals())
            said = "ok"
        except BaseException:
            said = traceback.format_exc()
        os.write(writer, said.encode()[-4000:])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        errors[name] = pipe.read()  # nothing from a process that crashed
    os.wait()
print(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What became of each program: ok, or its traceback."""
    done = subprocess.run(
        [sys.executable, "-c", HELPERS + FORKS],
        cwd=ROOT,
        input=json.dumps(PROGRAMS),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_products_by_the_other_library(outcomes: dict[str, str], name: str):
    assert outcomes[name] == "ok", outcomes[name]
