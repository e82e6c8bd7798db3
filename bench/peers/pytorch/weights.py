"""Weights by the names and layouts that `policy/divla` gives them, in and out of `nano.Nano`."""

import re
from collections.abc import Callable

from torch import Tensor

from nano import Nano

RENAMED = [
    (r"^trunk\.", ""),
    (r"^stem\.plain0\.", "stem."),
    (r"^stem\.block(\d)\.", r"blocks.\1."),
    (r"^stem\.(film|points|pooled)\.", r"\1."),
    (r"^view\.", ""),
    (r"^language\.embed$", "language.embed.weight"),
    (r"^language\.layer(\d)\.(attention\.)?", r"language.layers.\1."),
    (r"^vision\.(layer0|resampler)\.", "vision."),
    (r"^inject\.(\w+)\.", r"inject_\1."),
    (r"^(instruction|vision\.mlp|inject_\w+)\.in\.", r"\1.0."),
    (r"^(instruction|vision\.mlp|inject_\w+)\.out\.", r"\1.2."),
    (r"^decoder\.film\.", "decoder."),
    (r"^decoder\.step\.(in|out)\.", r"decoder.step_\1."),
    (r"^decoder\.(\w+)\.in\.", r"decoder.\1.into."),
    (r"^head\.view(\d)\.", r"head.views.\1."),
    (r"^head\.condition\.", "head.out."),
    (r"^head\.decode\.(\w+)\.", r"head.decode_\1."),
]


def renamed(name: str) -> str:
    for pattern, to in RENAMED:
        name = re.sub(pattern, to, name)
    return name


def patch_to_conv(w: Tensor) -> Tensor:
    return w.view(-1, 8, 8, 3).permute(0, 3, 1, 2)


Layout = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
SAME: Layout = (lambda w: w, lambda w: w)
LAYOUTS: list[tuple[str, Layout]] = [
    (r"^trunk\.stem\.first\.weight$", (patch_to_conv, lambda w: w.permute(0, 2, 3, 1).flatten(1))),
    (r"^trunk\.stem\.plain0\.mix\.weight$", (lambda w: w.permute(3, 2, 0, 1), lambda w: w.permute(2, 3, 1, 0))),
    (r"^trunk\.decoder\.\w+\.skip\.weight$", (lambda w: w[..., None], lambda w: w[..., 0])),
    # Sequences: [kernel, in, out] and, of the transposed one, [kernel, out, in].
    (r"^trunk\.decoder\.(.*\.conv|narrow|widen)\.weight$", (lambda w: w.permute(2, 1, 0),) * 2),
    # A bank has its layers as [in, out].
    (r"^head\..*\.weight$", (lambda w: w.T,) * 2),
]


def layout(name: str) -> Layout:
    return next((found for pattern, found in LAYOUTS if re.match(pattern, name)), SAME)


def named(model: Nano, names: list[str]) -> dict[str, Tensor]:
    """The parameters of these names; those of views that the model does not have are left out."""
    parameters = dict(model.named_parameters())
    pairs = [(name, parameters.get(renamed(name))) for name in names]
    absent = [name for name, p in pairs if p is None and not re.match(r"head\.view\d", name)]
    if absent:
        raise KeyError(f"no parameters for {', '.join(absent)}")
    return {name: p for name, p in pairs if p is not None}


def load(model: Nano, weights: dict[str, Tensor]) -> None:
    """Sets every parameter. Throws KeyError where one is left without, or a name is unknown."""
    found = named(model, list(weights))
    left = {name for name, _ in model.named_parameters()} - {renamed(name) for name in found}
    if left:
        raise KeyError(f"no weights for {', '.join(sorted(left))}")
    for name, parameter in found.items():
        parameter.data.copy_(layout(name)[0](weights[name]))


def as_ours(name: str, tensor: Tensor) -> Tensor:
    return layout(name)[1](tensor).contiguous()
