"""A speech LM with random weights, that can keep everything, what the authors' code keeps, or nothing between steps.

All three compute the same logits: every layer is causal. What differs is how much of it is computed again.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evalkit.bench.lm.config import Cache, Heads, LanguageModel, Speech, TokenSpec

HEAD = 64
"""Width of an attention head."""

State = dict[str, Any]
"""What a layer keeps between steps, by name."""


class Attention(nn.Module):
    """Of `width` to `source` (itself, by default), in heads of HEAD."""

    def __init__(self, width: int, inner: int, source: int | None = None) -> None:
        super().__init__()
        self.query, self.out = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)
        self.keys = nn.Linear(source or width, 2 * inner, bias=False)

    def project(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, N, inner]."""
        keys, values = self.keys(source).chunk(2, -1)
        return keys, values

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, causal: bool) -> Tensor:
        """[B, n, width]; where `causal`, the last of `x` stands at the last of `keys`."""
        q, k, v = (t.unflatten(-1, (-1, min(HEAD, t.shape[-1]))).transpose(1, 2) for t in (self.query(x), keys, values))
        causal = causal and q.shape[2] > 1
        mask = None
        if causal and q.shape[2] != k.shape[2]:
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device)
            mask, causal = mask.tril(k.shape[2] - q.shape[2]), False
        made = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out(made.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two convolutions with GELU between, causal or to both sides; linear layers where the kernel is 1."""

    def __init__(self, width: int, hidden: int, kernel: int, causal: bool) -> None:
        super().__init__()
        self.up, self.down = nn.Conv1d(width, hidden, kernel, bias=False), nn.Conv1d(hidden, width, kernel, bias=False)
        self.reach, self.causal = kernel - 1, causal

    def forward(self, x: Tensor, state: State | None = None) -> Tensor:
        """[B, n, width] to the same; with `state`, after what came before."""
        h = F.gelu(self._run(self.up, x.transpose(1, 2), state, "up"), approximate="tanh")
        return self._run(self.down, h, state, "down").transpose(1, 2)

    def _run(self, conv: nn.Conv1d, h: Tensor, state: State | None, name: str) -> Tensor:
        if not self.reach:
            return F.linear(h.transpose(1, 2), conv.weight[:, :, 0]).transpose(1, 2)
        if not self.causal:
            return conv(F.pad(h, (self.reach // 2, self.reach - self.reach // 2)))
        past = h.new_zeros(*h.shape[:2], self.reach) if state is None or name not in state else state[name]
        h = torch.cat([past, h], 2)
        if state is not None:
            state[name] = h[:, :, -self.reach :]
        return conv(h)


class Layer(nn.Module):
    """Attention to itself, to the text where there is one, and feed-forward, each after a norm and added."""

    def __init__(self, width: int, hidden: int, kernel: int, cross: int = 0, causal: bool = True) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(3))
        self.own = Attention(width, width)
        self.cross = Attention(width, cross, width) if cross else None
        self.feed = FeedForward(width, hidden, kernel, causal)
        self.causal = causal

    def forward(
        self, x: Tensor, memory: Tensor | None = None, state: State | None = None, cache: Cache = "none"
    ) -> Tensor:
        """`x` [B, n, width]: with cache "full" the positions that are new; else all positions from the first on, of
        which, with "upstream", attention computes the new ones alone."""
        state = {} if state is None else state
        new = x if cache != "upstream" else x[:, state.get("positions", 0) :]
        if cache == "upstream":
            state["positions"] = x.shape[1]
        normed = self.norms[0](new)
        keys, values = (
            self._kept(state, name, t, cache) for name, t in zip("kv", self.own.project(normed), strict=True)
        )
        x = x + self._all(state, "own", self.own(normed, keys, values, self.causal), cache)
        if self.cross is not None and memory is not None:
            new = x[:, x.shape[1] - new.shape[1] :]
            if "memory" not in state or cache == "none":
                state["memory"] = self.cross.project(memory)
            x = x + self._all(state, "cross", self.cross(self.norms[1](new), *state["memory"], False), cache)
        return x + self.feed(self.norms[2](x), state if cache == "full" else None)

    def _kept(self, state: State, name: str, new: Tensor, cache: Cache) -> Tensor:
        if cache == "none":
            return new
        state[name] = torch.cat([state[name], new], 1) if name in state else new
        kept: Tensor = state[name]
        return kept

    def _all(self, state: State, name: str, new: Tensor, cache: Cache) -> Tensor:
        return self._kept(state, name, new, cache) if cache == "upstream" else new


class SpeechModel(nn.Module):
    """An LM of `lm`'s size for the codes of `spec`. `start` it with a prompt, then `step` from frame to frame."""

    def __init__(self, lm: LanguageModel, spec: TokenSpec, heads: Heads) -> None:
        super().__init__()
        self.lm, self.spec, self.heads = lm, spec, heads
        width, local = lm.width, lm.local
        self.entries = [lm.entries(size) for size in spec.codebook_sizes]
        self.text = nn.ModuleList(
            Layer(width, lm.hidden, lm.text_kernel, causal=False) for _ in range(lm.text_layers)
        )  # fmt: skip
        cross = lm.cross_width if lm.text_layers else 0
        self.layers = nn.ModuleList(Layer(width, lm.hidden, lm.kernel, cross) for _ in range(lm.layers))
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in self.entries)
        if heads == "local":
            self.into = nn.Linear(width, local.width)
            self.local = nn.ModuleList(Layer(local.width, local.hidden, 1) for _ in range(local.layers))
            self.said = nn.ModuleList(nn.Embedding(size, local.width) for size in self.entries)
            self.logits = nn.ModuleList(nn.Linear(local.width, size) for size in self.entries)
        else:
            self.head = nn.Linear(width, sum(self.entries), bias=False)

    def start(self, speech: Speech, cache: Cache) -> "Generation":
        """A generation after its prompt, and a first frame."""
        return Generation(self, speech, cache)

    def average(self, codes: list[Tensor]) -> Tensor:
        """Embedding [1, 1, width] of a frame of codes."""
        vectors = [table(code) for table, code in zip(self.embeddings, codes, strict=True)]
        return torch.stack(vectors).mean(0)[:, None]


class Generation:
    """One utterance under way. Text and context are random: only their lengths matter."""

    def __init__(self, model: SpeechModel, speech: Speech, cache: Cache) -> None:
        self.model, self.speech, self.cache = model, speech, cache
        weight = next(model.parameters())
        memory = weight.new_empty(speech.batch, speech.text, model.lm.width).normal_()
        for layer in model.text:
            memory = layer(memory)
        self.memory = memory
        self.states: list[State] = [{} for _ in model.layers]
        prompt = speech.prompt(model.spec)
        self.x = weight.new_empty(speech.batch, prompt, model.lm.width).normal_()
        self.frame = self._frame(self.x)

    def step(self) -> list[Tensor]:
        """Say the next frame; returns the codes of the last one, each [1]."""
        said = self.frame
        new = self.model.average(said).expand(self.speech.batch, -1, -1)
        self.x = torch.cat([self.x, new], 1)
        self.frame = self._frame(new if self.cache == "full" else self.x)
        return said

    def hidden(self, x: Tensor) -> Tensor:
        """What the layers make of `x`: of all its positions."""
        for layer, state in zip(self.model.layers, self.states, strict=True):
            x = layer(x, self.memory, state, self.cache)
        return x

    def _frame(self, x: Tensor) -> list[Tensor]:
        model, x = self.model, self.hidden(x)
        if model.heads == "local":
            return self._one_by_one(x[:, -1:])
        # As upstream, which wants the last position's logits and computes all of what it has.
        logits = model.head(x)[:, -1]
        return [self._draw(part) for part in logits.split(model.entries, -1)]

    def _one_by_one(self, x: Tensor) -> list[Tensor]:
        model = self.model
        states: list[State] = [{} for _ in model.local]
        given, codes = model.into(x), []
        for said, logits in zip(model.said, model.logits, strict=True):
            h = given
            for layer, state in zip(model.local, states, strict=True):
                h = layer(h, None, state, "full")
            codes.append(self._draw(logits(h)[:, -1]))
            given = said(codes[-1])[:, None].expand(len(x), -1, -1)
        return codes

    def _draw(self, logits: Tensor) -> Tensor:
        """A code [1] of logits [B, entries], guided where B is 2."""
        if len(logits) == 2:
            scale = self.speech.guidance
            logits = scale * logits[:1] + (1 - scale) * logits[1:]
        best, places = (logits / self.model.lm.temperature).topk(min(self.model.lm.top_k, logits.shape[-1]))
        return places[0, torch.multinomial(F.softmax(best[0], -1), 1)]
