"""`nano` as one would write it in PyTorch: modules of the library wherever it has them, one embodiment's head.

Shapes, weights and arithmetic are those of `policy/divla`; `load` reads its weights by their names there.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """Of the configuration, and of the pictures and chunks that this instance sees."""

    external: int
    wrist: int
    width: int
    height: int
    horizon: int
    config: dict

    @property
    def views(self) -> int:
        return self.external + self.wrist


def mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU("tanh"), nn.Linear(hidden, out))


class Stem(nn.Module):
    """Patches of 8x8 pixels, one every 4, and a residual convolution; channels last throughout."""

    def __init__(self, first: int, width: int):
        super().__init__()
        self.first = nn.Conv2d(3, first, 8, stride=4)
        self.second = nn.Linear(first, width)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        centred = (pixels.float() - 127.5) / 127.5
        room = F.pad(centred.permute(0, 3, 1, 2), (2, 2, 2, 2), value=0.5 / 127.5)
        fine = F.silu(self.first(room)).permute(0, 2, 3, 1)
        x = F.silu(self.second(fine))
        mixed = self.mix(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.norm(x + self.out(F.silu(mixed)))


class ShiftBlock(nn.Module):
    """A fifth of the channels each from the cell and its four neighbours, modulated by the instruction."""

    def __init__(self, width: int):
        super().__init__()
        self.part = math.ceil(width / 5)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        here, left, right, up, down = x.split(self.part, dim=-1)
        moved = torch.cat(
            [
                here,
                F.pad(left[:, :-1], (0, 0, 0, 0, 1, 0)),
                F.pad(right[:, 1:], (0, 0, 0, 0, 0, 1)),
                F.pad(up[:, :, :-1], (0, 0, 1, 0)),
                F.pad(down[:, :, 1:], (0, 0, 0, 1)),
            ],
            dim=-1,
        )
        y = self.mix(moved) * (1 + scale[:, None, None]) + shift[:, None, None]
        return x + self.out(F.silu(y))


class Points(nn.Module):
    """Spatial soft-argmax with a learned offset inside each cell, and features pooled there."""

    def __init__(self, width: int, points: int, pooled: int, height: int, length: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, points)
        self.features = nn.Linear(width, 2 + pooled)
        y = (torch.arange(height) + 0.5) / height * 2 - 1
        x = (torch.arange(length) + 0.5) / length * 2 - 1
        centres = torch.stack([x.repeat(height), y.repeat_interleave(length)], dim=-1)
        self.register_buffer("centres", F.pad(centres, (0, pooled)), persistent=False)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        cells = self.norm(grid).flatten(1, 2)
        weights = self.scores(cells).transpose(1, 2).softmax(-1)
        found = weights @ (self.features(cells) + self.centres)
        return found[..., :2], found[..., 2:]


class Attention(nn.Module):
    """Of every query to every key."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = split(self.q(query)), split(self.k(memory)), split(self.v(memory))
        mixed = F.scaled_dot_product_attention(q.expand(len(k), -1, -1, -1), k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Resampler(nn.Module):
    def __init__(self, tokens: int, width: int, heads: int):
        super().__init__()
        self.queries = nn.Parameter(torch.empty(tokens, width))
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, memory: Tensor) -> Tensor:
        return self.norm(self.attention(self.queries[None], memory) + self.queries)


def position_codes(height: int, length: int, width: int) -> Tensor:
    rates = 100 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4)) * math.pi
    y = (torch.arange(height) + 0.5)[:, None, None] * rates
    x = (torch.arange(length) + 0.5)[None, :, None] * rates
    codes = [y.sin(), y.cos(), x.sin(), x.cos()]
    return torch.cat([c.expand(height, length, -1) for c in codes], -1).flatten(0, 1).float()


class Vision(nn.Module):
    """The grid through an encoder over 2x2 cells, then to a fixed number of tokens a kind of view."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        c = sizes.config
        width, heads = c["vision"]["width"], c["vision"]["heads"]
        stem = c["stem"]
        self.patch = nn.Linear(4 * stem["width"], width)
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp(width, 2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.external = Resampler(c["vision"]["externalTokens"], width, heads)
        self.wrist = Resampler(c["vision"]["wristTokens"], width, heads)
        self.project = nn.Linear(width, c["language"]["hidden"])
        summary = stem["points"] * (2 + stem["pooled"])
        self.places = nn.Linear(summary, c["language"]["hidden"])
        codes = position_codes(sizes.height // 8, sizes.width // 8, width)
        self.register_buffer("codes", codes, persistent=False)

    def forward(self, grid: Tensor, resampler: Resampler) -> Tensor:
        n, h, w, c = grid.shape
        blocks = grid.view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5)
        x = self.patch(blocks.reshape(n, h // 2 * (w // 2), 4 * c)) + self.codes
        normed = self.norm1(x)
        x = x + self.attention(normed, normed)
        x = x + self.mlp(self.norm2(x))
        return self.project(resampler(self.norm(x)))


class LanguageLayer(nn.Module):
    """As Qwen2 has it: RMSNorm, rotary positions, grouped-query attention, SwiGLU."""

    def __init__(self, c: dict):
        super().__init__()
        hidden, inner, size = c["hidden"], c["intermediate"], c["headDim"]
        self.size = size
        self.norm1 = nn.RMSNorm(hidden, eps=c["normEps"])
        self.q = nn.Linear(hidden, c["heads"] * size)
        self.k = nn.Linear(hidden, c["kvHeads"] * size)
        self.v = nn.Linear(hidden, c["kvHeads"] * size)
        self.out = nn.Linear(c["heads"] * size, hidden, bias=False)
        self.norm2 = nn.RMSNorm(hidden, eps=c["normEps"])
        self.gate = nn.Linear(hidden, inner, bias=False)
        self.up = nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)

    def forward(self, h: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (-1, self.size)).transpose(1, 2)

        def rotate(x: Tensor) -> Tensor:
            a, b = x.chunk(2, dim=-1)
            return x * cos + torch.cat([-b, a], -1) * sin

        x = self.norm1(h)
        q, k, v = rotate(split(self.q(x))), rotate(split(self.k(x))), split(self.v(x))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        h = h + self.out(mixed.transpose(1, 2).flatten(2))
        x = self.norm2(h)
        return h + self.down(F.silu(self.gate(x)) * self.up(x))


class Language(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.embed = nn.Embedding(c["vocabulary"], c["hidden"])
        self.layers = nn.ModuleList(LanguageLayer(c) for _ in range(c["layers"]))
        self.norm = nn.RMSNorm(c["hidden"], eps=c["normEps"])
        half = c["headDim"] // 2
        rates = c["ropeTheta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        self.register_buffer("rates", rates.float().repeat(2), persistent=False)

    def forward(self, x: Tensor, positions: Tensor, keys: Tensor) -> Tensor:
        """x [B, T, hidden], positions [T], keys [B, T] with 1 for a token that is there."""
        angles = positions[:, None] * self.rates
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        seen = causal & (keys > 0)[:, None, None]
        # Finite, since a token that is not there may see nothing at all.
        mask = torch.zeros(seen.shape).masked_fill(~seen, -1e9)
        for layer in self.layers:
            x = layer(x, angles.cos(), angles.sin(), mask)
        return self.norm(x)


class ConvBlock(nn.Module):
    def __init__(self, width: int, out: int, kernel: int, groups: int):
        super().__init__()
        self.conv = nn.Conv1d(width, out, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(groups, out)

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(self.norm(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, width: int, out: int, kernel: int, groups: int):
        super().__init__()
        self.into = ConvBlock(width, out, kernel, groups)
        self.out = ConvBlock(out, out, kernel, groups)
        self.skip = nn.Identity() if width == out else nn.Conv1d(width, out, 1)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return self.out(self.into(x) * scale[..., None] + shift[..., None]) + self.skip(x)


class Decoder(nn.Module):
    """Conditional 1-D U-Net over a chunk, every block modulated by condition, diffusion step and reasoning."""

    def __init__(self, config: dict):
        super().__init__()
        d = config["decoder"]
        a, b = d["channels"]
        kernel, groups, step = d["kernel"], d["groups"], d["stepEmbedding"]
        self.widths = [a, b, b, a, a]
        self.film_width = sum(self.widths)
        self.condition = nn.Linear(d["condition"], 2 * self.film_width)
        self.reasoning = nn.Linear(d["reasoning"], 2 * self.film_width)
        self.step = nn.Linear(step, 2 * self.film_width)
        self.step_in = nn.Linear(step, 4 * step)
        self.step_out = nn.Linear(4 * step, step)
        self.down0 = Residual(config["head"]["actionWidth"], a, kernel, groups)
        self.narrow = nn.Conv1d(a, a, 3, stride=2, padding=1)
        self.down1 = Residual(a, b, kernel, groups)
        self.middle = Residual(b, b, kernel, groups)
        self.up0 = Residual(2 * b, a, kernel, groups)
        self.widen = nn.ConvTranspose1d(a, a, 4, stride=2, padding=1)
        self.up1 = Residual(2 * a, a, kernel, groups)
        self.final = ConvBlock(a, a, kernel, groups)
        half = step // 2
        rates = 10000 ** (-torch.arange(half, dtype=torch.float64) / (half - 1))
        self.register_buffer("rates", rates.float(), persistent=False)

    def step_film(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.rates
        hidden = F.mish(self.step_in(torch.cat([angles.sin(), angles.cos()], -1)))
        return self.step(F.mish(self.step_out(hidden)))

    def modulation(self, base: Tensor, spoken: Tensor) -> list[tuple[Tensor, Tensor]]:
        """base: condition and step; what modulates a block is that, then the reasoning."""
        (b0, b1), (s0, s1) = base.chunk(2, -1), spoken.chunk(2, -1)
        scale, shift = (1 + b0) * (1 + s0), b1 * (1 + s0) + s1
        return list(zip(scale.split(self.widths, -1), shift.split(self.widths, -1)))

    def forward(self, x: Tensor, modulation: list[tuple[Tensor, Tensor]]) -> Tensor:
        """x [N, H, C] -> [N, H, channels[0]]."""
        down0, down1, middle, up0, up1 = modulation
        a = self.down0(x.transpose(1, 2), *down0)
        b = self.down1(self.narrow(a), *down1)
        up = self.up0(torch.cat([self.middle(b, *middle), b], 1), *up0)
        wide = torch.cat([self.widen(up), a], 1)
        return self.final(self.up1(wide, *up1)).transpose(1, 2)


class Head(nn.Module):
    """What is one embodiment's own."""

    def __init__(self, config: dict, slots: list[int]):
        super().__init__()
        h, stem, decoder = config["head"], config["stem"], config["decoder"]
        hidden = h["conditionHidden"]
        self.slots = slots
        self.state = nn.Linear(2 * h["dims"] + 1, h["stateWidth"])
        summary = stem["points"] * (2 + stem["pooled"])
        self.views = nn.ModuleDict({str(slot): nn.Linear(summary, hidden) for slot in slots})
        self.mix = nn.Linear(h["stateWidth"], hidden)
        self.deep = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, decoder["condition"])
        self.encode = nn.Linear(h["dims"], h["actionWidth"])
        self.decode_in = nn.Linear(decoder["channels"][0], h["actionHidden"])
        self.decode_out = nn.Linear(h["actionHidden"], h["dims"])

    def condition(self, body: Tensor, summary: Tensor) -> Tensor:
        joined = self.mix(F.gelu(self.state(body), approximate="tanh"))
        for i, slot in enumerate(self.slots):
            joined = joined + self.views[str(slot)](summary[:, i])
        hidden = F.gelu(joined, approximate="tanh")
        return self.out(hidden + F.gelu(self.deep(hidden), approximate="tanh"))

    def decode(self, y: Tensor) -> Tensor:
        return self.decode_out(F.gelu(self.decode_in(y), approximate="tanh"))


class Nano(nn.Module):
    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        c = sizes.config
        stem, language, width = c["stem"], c["language"], c["stem"]["instruction"]
        self.stem = Stem(stem["first"], stem["width"])
        self.film = nn.Linear(width, 2 * stem["width"] * len(stem["modulated"]))
        self.blocks = nn.ModuleList(ShiftBlock(stem["width"]) for _ in stem["modulated"])
        rows, columns = sizes.height // 4, sizes.width // 4
        self.points = Points(stem["width"], stem["points"], stem["pooled"], rows, columns)
        self.pooled = nn.LayerNorm(stem["points"] * stem["pooled"])
        self.instruction = mlp(language["hidden"], width, width)
        self.external = nn.Parameter(torch.empty(width))
        self.wrist = nn.Parameter(torch.empty(width))
        self.vision = Vision(sizes)
        self.language = Language(language)
        injected = c["decoder"]["reasoning"]
        self.inject_prompt = mlp(language["hidden"], injected, injected)
        self.inject_generated = mlp(language["hidden"], injected, injected)
        self.decoder = Decoder(c)
        most = c["maxViews"]["external"]
        slots = [*range(sizes.external), *range(most, most + sizes.wrist)]
        self.head = Head(c, slots)
        self.register_buffer("positions", self.prompt_positions(), persistent=False)

    def prompt_positions(self) -> Tensor:
        """A view's tokens have their positions whatever other views there are; reasoning follows the text."""
        v, text = self.sizes.config["vision"], self.sizes.config["language"]
        external, wrist = v["externalTokens"], v["wristTokens"]
        block = external + wrist + 2

        def views(count: int, start: int, tokens: int) -> list[int]:
            return [start - i * block + j for i in range(count) for j in range(tokens)]

        after = text["textTokens"] + text["reasoningTokens"]
        places = [
            *views(self.sizes.external, 0, external),
            *views(self.sizes.wrist, external, wrist),
            *views(self.sizes.external, block - 2, 1),
            *views(self.sizes.wrist, block - 1, 1),
            *range(block, block + after),
        ]
        return torch.tensor(places, dtype=torch.float32)

    def see(self, images: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """images u8 [R, V, H, W, 3] -> grid [R, V, h, w, C] and a summary a view [R, V, S]."""
        words = (mask[:, None] @ self.language.embed(tokens)).squeeze(1)
        said = F.silu(self.instruction(words / mask.sum(-1, keepdim=True)))
        kinds = [self.external] * self.sizes.external + [self.wrist] * self.sizes.wrist
        vectors = said[:, None] + torch.stack(kinds)
        film = self.film(vectors.flatten(0, 1)).chunk(2 * len(self.blocks), -1)
        grid = self.stem(images.flatten(0, 1))
        for i, block in enumerate(self.blocks):
            grid = block(grid, film[2 * i], film[2 * i + 1])
        points, pooled = self.points(grid)
        shape = (len(tokens), self.sizes.views, -1)
        summary = torch.cat([points.reshape(shape), self.pooled(pooled.reshape(shape))], -1)
        return grid.unflatten(0, shape[:2]), summary

    def hear(
        self,
        grid: Tensor,
        summary: Tensor,
        present: Tensor,
        tokens: Tensor,
        mask: Tensor,
        said: Tensor,
        said_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits of each next token of a known reasoning [B, R, vocabulary], and what it injects [B, D]."""
        kinds = [(self.vision.external, 0, self.sizes.external)]
        if self.sizes.wrist > 0:
            kinds.append((self.vision.wrist, self.sizes.external, self.sizes.wrist))
        parts, keys = [], []
        for resampler, start, count in kinds:
            chosen = grid[:, start : start + count]
            seen = self.vision(chosen.flatten(0, 1), resampler)
            parts.append(seen.view(len(grid), -1, seen.shape[-1]))
            keys.append(present[:, start : start + count].repeat_interleave(seen.shape[1], 1))
        parts += [self.vision.places(summary), self.language.embed(torch.cat([tokens, said], 1))]
        prompt = torch.cat([*keys, present, mask], 1)
        hidden = self.language(
            torch.cat(parts, 1), self.positions, torch.cat([prompt, torch.ones_like(said_mask)], 1)
        )
        before, spoken = hidden.split([prompt.shape[1], said.shape[1]], 1)
        injected = self.inject_prompt(masked_mean(before, prompt)) + self.inject_generated(
            masked_mean(spoken, said_mask)
        )
        return F.linear(spoken, self.language.embed.weight), injected

    def predict(self, x: Tensor, modulation: list[tuple[Tensor, Tensor]]) -> Tensor:
        return self.head.decode(self.decoder(self.head.encode(x), modulation))

    def forward(self, batch: dict[str, Tensor], spoken: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, action loss and reasoning loss of a batch, of pictures or of features computed before."""
        if "summary" in batch:
            summary, reasoning = batch["summary"], batch["reasoning"]
            words = summary.new_zeros(())
        else:
            tokens, mask, present = batch["tokens"], batch["token_mask"], batch["present"]
            grid, summary = self.see(batch["images"], tokens, mask)
            logits, voiced = self.hear(
                grid[:spoken],
                summary[:spoken],
                present[:spoken],
                tokens[:spoken],
                mask[:spoken],
                batch["said"],
                batch["said_mask"],
            )
            words = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
            summary = summary * present[..., None]
            # Rows that the language model does not read train the decoder to act without reasoning.
            reasoning = F.pad(voiced, (0, 0, 0, len(tokens) - spoken))
        draws = len(batch["noise"]) // len(batch["clean"])
        body = torch.cat([batch["state"], batch["command"], batch["known"]], -1)
        felt = self.decoder.condition(F.mish(self.head.condition(body, summary)))
        spoken_film = self.decoder.reasoning(reasoning)
        t, root, rest = batch["levels"].unbind(-1)
        root, rest = root[:, None, None], rest[:, None, None]
        clean = batch["clean"].repeat_interleave(draws, 0)
        keep = batch["keep"].repeat_interleave(draws, 0)
        base = felt.repeat_interleave(draws, 0) + self.decoder.step_film(t)
        modulation = self.decoder.modulation(base, spoken_film.repeat_interleave(draws, 0))
        noise = batch["noise"]
        predicted = self.predict(clean * root + noise * rest, modulation)
        error = predicted - (noise * root - clean * rest)
        action = (error.square() * keep).sum() / keep.sum().clamp(min=1)
        return action + 0.1 * words, action, words

    def act(self, row: dict[str, Tensor], table: Tensor, clip: float) -> Tensor:
        """A chunk in normalised units; a line of the table is t and the four levels of a denoising step."""
        _, summary = self.see(row["images"], row["tokens"], row["token_mask"])
        summary = summary * row["present"][..., None]
        body = torch.cat([row["state"], row["command"], row["known"]], -1)
        felt = self.decoder.condition(F.mish(self.head.condition(body, summary)))
        spoken = self.decoder.reasoning(row["reasoning"])
        steps = self.decoder.step_film(table[:, 0])
        x, kept = row["noise"], row["kept"][:, None]
        for step, (_, root, rest, root_before, rest_before) in zip(steps, table.unbind(0)):
            v = self.predict(x, self.decoder.modulation(felt + step, spoken))
            clean = (x * root - v * rest).clamp(-clip, clip)
            x = (clean * root_before + (x * rest + v * root) * rest_before) * kept
        return x


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    return (mask[:, None] @ x).squeeze(1) / (mask.sum(-1, keepdim=True) + 1e-6)
