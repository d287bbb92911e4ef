"""The Triton kernels against the torch operations they stand in for, in Triton's interpreter: no GPU, no speed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "nanocodec_fused.py"

COMPARE = """
import torch
from nanocodec import causal, fused
from nanocodec.causal import CausalBranch
from nanocodec.layers import ResBlock, fold_weight_norm

torch.manual_seed(0)
assert fused.wanted(torch.empty(5, 5, 3)) and not fused.wanted(torch.empty(65, 65, 3))
for channels, kernel, dilations in ((5, 3, (1, 3)), (20, 7, (2,))):
    block = fold_weight_norm(ResBlock(channels, kernel, dilations, "half_snake", causal=True)).eval()
    for name, parameter in block.named_parameters():
        drawn = torch.rand_like(parameter) + 0.5 if name.endswith("alpha") else 0.2 * torch.randn_like(parameter)
        parameter.data = drawn
    x = torch.randn(2, channels, 1, 170)
    with torch.inference_mode():
        whole = block(x[:, :, 0])
        branch, plain = (kind(block, 2, torch.float32) for kind in (fused.FusedBranch, CausalBranch))
        parts = [branch(part) for part in x.split([70, 1, 99], dim=3)]
        error = float((torch.cat(parts, 3)[:, :, 0] - whole).abs().max())
        assert error <= 2e-5, (channels, error)
        for part in x.split([70, 1, 99], dim=3):
            plain(part)
        for one, other in zip(branch.blocks, plain.blocks):
            for mine, theirs in zip(one, other):
                assert (mine.state.past - theirs.state.past).abs().max() <= 2e-5
causal._has_bf16 = lambda device: True
half = fused.FusedBranch(block, 2, torch.float16)  # stands in for bf16, which the interpreter cannot multiply
with torch.inference_mode():
    error = float((half(x[..., :70])[:, :, 0] - whole[..., :70]).abs().max())
assert half.blocks[0][0].state.past.dtype == torch.float16 and 1e-5 < error < 1e-2 * whole.abs().max(), error
print("equal")
"""


def test_a_fused_branch_is_the_plain_one_in_chunks_and_in_its_state() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "NANOCODEC_FUSED": "1"}
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "equal", done.stderr


@pytest.mark.slow
def test_every_kernel_that_decoding_launches_compiles_for_a_gpu_in_seconds_without_spills() -> None:
    compiling = [sys.executable, str(BENCHMARK), "--variant", "mini-1.1k", "--compile", "sm_90"]
    done = subprocess.run(compiling, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[-4:] for line in done.stdout.splitlines() if " convolution" in line]
    assert len(rows) == 16, "64 and 32 channels, as 1.78k, in three kernels, 16 in two, and all in fp32 and bf16"
    for seconds, registers, spilled, shared in rows:
        assert float(seconds) < 20 and 0 < int(registers) <= 128, done.stdout
        assert int(spilled) == 0 and int(shared) <= 48 << 10, done.stdout
