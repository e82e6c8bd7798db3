"""PyTorch's side of `npm run bench -- model`: answers requests, one JSON a line.

Started with the folder that has settings.json, the weights and the inputs. `{"do": "check", ...}` writes what
PyTorch makes of them, for the other side to compare; `{"do": "time", ...}` says what calls take, ms.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parents[3] / ".armature/torchinductor"))

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from nano import Nano, Sizes
from weights import as_ours, load, named

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text())
torch.set_num_threads(settings["threads"])
weights = load_file(folder / "weights.safetensors")


def fresh() -> Nano:
    model = Nano(Sizes(config=settings["config"], **settings["signature"]))
    load(model, weights)
    return model


class Training:
    """The step of one mode: losses, gradients, clipping, AdamW and the moving average of the weights."""

    def __init__(self, mode: str, way: str):
        self.mode = settings["modes"][mode]
        self.batch = load_file(folder / f"{mode}.safetensors")
        self.model = fresh()
        self.trained = named(self.model, self.mode["trained"])
        self.model.requires_grad_(False)
        for parameter in self.trained.values():
            parameter.requires_grad_(True)
        decayed = set(settings["decayed"])
        groups = [
            {"params": [p for name, p in self.trained.items() if (name in decayed) is decays], "weight_decay": decay}
            for decays, decay in ((True, self.mode["weightDecay"]), (False, 0.0))
        ]
        self.parameters = list(self.trained.values())
        self.average = [p.detach().clone() for p in self.parameters]
        betas = (self.mode["beta1"], self.mode["beta2"])
        self.optimiser = torch.optim.AdamW(
            groups, lr=self.mode["learningRate"], betas=betas, eps=self.mode["eps"], fused=True
        )
        self.losses = torch.compile(self.model, dynamic=False) if way == "compiled" else self.model

    def step(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.optimiser.zero_grad(set_to_none=True)
        loss, action, words = self.losses(self.batch, self.mode["spoken"])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.mode["clip"])
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - self.mode["emaDecay"])
        return loss.detach(), action.detach(), words.detach(), norm

    call = step

    def outputs(self) -> dict[str, Tensor]:
        """Of one step from the start: losses, the gradient as clipped and the weights after it."""
        loss, action, words, norm = self.step()
        figures = torch.stack([loss, action, words, norm])
        out = {"losses": figures}
        for name, parameter in self.trained.items():
            if parameter.grad is None:
                continue
            out[f"gradient.{name}"] = as_ours(name, parameter.grad)
            out[f"weight.{name}"] = as_ours(name, parameter.detach())
        return out


class Acting:
    """A chunk for one robot."""

    def __init__(self, way: str):
        self.row = load_file(folder / "act.safetensors")
        self.model = fresh().eval()
        self.table = torch.tensor(settings["act"]["table"])
        if way == "compiled":
            # What runs once and what runs in every step; ten steps as one graph take minutes to compile.
            self.model.see = torch.compile(self.model.see, dynamic=False)
            self.model.predict = torch.compile(self.model.predict, dynamic=False)

    @torch.inference_mode()
    def call(self) -> Tensor:
        return self.model.act(self.row, self.table, settings["act"]["clip"])

    def outputs(self) -> dict[str, Tensor]:
        return {"actions": self.call().clone()}


def compiler() -> str | None:
    """What torch.compile would make its kernels with."""
    named = os.environ.get("CXX")
    return next((found for found in map(shutil.which, filter(None, [named, "g++", "clang++"])) if found), None)


subjects: dict[tuple[str, str], Training | Acting] = {}


def subject(what: str, way: str) -> Training | Acting:
    key = (what, way)
    if key not in subjects:
        subjects[key] = Acting(way) if what == "act" else Training(what, way)
    return subjects[key]


def answer(request: dict) -> dict:
    what = subject(request["what"], request["way"])
    if request["do"] == "check":
        file = f"{request['what']}-{request['way']}.safetensors"
        try:
            outputs = what.outputs()
        except BackendCompilerFailed as failure:
            return {"failure": str(failure).splitlines()[0]}
        save_file(outputs, folder / file)
        return {"file": file}
    for _ in range(request["warmup"]):
        what.call()
    times = []
    for _ in range(request["calls"]):
        started = time.perf_counter()
        what.call()
        times.append((time.perf_counter() - started) * 1000)
    return {"ms": times}


print(json.dumps({"torch": torch.__version__, "compiler": compiler()}), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
