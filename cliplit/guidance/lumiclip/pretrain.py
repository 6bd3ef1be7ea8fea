"""Pretraining of lumiclip, the embedded lighting prior: a small CLIP that reads photometric captions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from cliplit.files import atomic_path, write_json
from cliplit.guidance.lumiclip.captions import bank_targets, caption_bank, compose
from cliplit.guidance.lumiclip.conditions import simulate, to_coded, to_linear
from cliplit.guidance.lumiclip.zero_shot import load_folder, normalise, zero_shot
from cliplit.guidance.vlm import read_architecture


@dataclass(frozen=True)
class PretrainConfig:
    """The recipe; the defaults are the ones the shipped weights were trained with."""

    steps: int = 2000
    batch: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    backlit_share: float = 0.25
    ema: float = 0.995
    seed: int = 0


def pretrain(photos: Path, out: Path, steps: int | None = None, seed: int = 0) -> dict[str, float]:
    """Train lumiclip on ``photos/backlit`` and ``photos/well_lit``; write lumiclip.safetensors (fp16) and metrics.

    Returns the zero-shot accuracy per class on the held-out photos. Raises UserError when a folder holds too little.
    """
    config = PretrainConfig(seed=seed) if steps is None else PretrainConfig(seed=seed, steps=steps)
    model = _train(
        load_folder(photos / "backlit", held_out=False), load_folder(photos / "well_lit", held_out=False), config
    )
    metrics = zero_shot(
        model, load_folder(photos / "backlit", held_out=True), load_folder(photos / "well_lit", held_out=True)
    )
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    with atomic_path(out / "lumiclip.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"architecture": json.dumps(read_architecture(), sort_keys=True)})
    write_json(out / "metrics.json", {**metrics, "steps": config.steps, "seed": seed})
    return metrics


def _crops(pictures: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Random windows of 50–100 % of the area, mirrored at random, as linear RGB B3SS."""
    count = len(pictures)
    scale = (torch.rand(count, generator=generator) * 0.3 + 0.7).view(-1, 1)
    shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - scale)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = scale[:, 0] * mirror, scale[:, 0]
    affine[:, :, 2] = shift
    grid = F.affine_grid(affine, [count, 3, side, side], align_corners=False)
    coded = F.grid_sample(pictures.float() / 255, grid, padding_mode="reflection", align_corners=False)
    return to_linear(coded.clamp(0, 1))


def _train(backlit: Tensor, well_lit: Tensor, config: PretrainConfig) -> open_clip.CLIP:
    """The loop: caption-bank cross-entropy with soft targets, and contrast over composed sentences."""
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    architecture = read_architecture()
    model = open_clip.CLIP(**architecture)
    tokenizer = open_clip.SimpleTokenizer(context_length=architecture["text_cfg"]["context_length"])
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema), use_buffers=True
    )
    matrices = [value for value in model.parameters() if value.ndim >= 2]
    others = [value for value in model.parameters() if value.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.06
    )
    real_count = round(config.batch * config.backlit_share)
    bar = tqdm(range(config.steps), desc="lumiclip", disable=None)
    for step in bar:
        picked = [
            pixels[torch.randint(len(pixels), (count,), generator=generator)]
            for pixels, count in ((backlit, real_count), (well_lit, config.batch - real_count))
        ]
        linear = _crops(torch.cat(picked), architecture["vision_cfg"]["image_size"], generator)
        batch = simulate(linear, torch.arange(config.batch) < real_count, generator)
        images = model.encode_image(normalise(to_coded(batch.linear)), normalize=True)
        bank = model.encode_text(tokenizer(caption_bank(generator)), normalize=True)
        sentences = compose(batch.severity, batch.tint, generator)
        texts = model.encode_text(tokenizer(sentences), normalize=True)
        scale = model.logit_scale.exp().clamp(max=50.0)
        loss = bank_loss(images, bank, batch.severity, scale) + 0.5 * sentence_loss(images, texts, sentences, scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        if step % 25 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
            if bar.disable:
                print(f"step {step} loss {loss.item():.4f}", flush=True)
    # A fresh model, because averaging turned the minus infinities of the causal mask, a buffer, into NaN.
    averaged = open_clip.CLIP(**architecture)
    averaged.load_state_dict(average.module.state_dict())
    with torch.no_grad():
        averaged.logit_scale.clamp_(max=float(np.log(50.0)))
    return averaged.eval()


def bank_loss(images: Tensor, bank: Tensor, severity: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of the captions' softmax against how severe each defect is."""
    return -(bank_targets(severity) * F.log_softmax(scale * images @ bank.T, dim=1)).sum(1).mean()


def sentence_loss(images: Tensor, texts: Tensor, sentences: list[str], scale: Tensor) -> Tensor:
    """CLIP's contrastive loss, where equal sentences are positives of each other."""
    same = torch.tensor([[float(one == other) for other in sentences] for one in sentences])
    targets = same / same.sum(1, keepdim=True)
    logits = scale * images @ texts.T
    rows = -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()
    columns = -(targets * F.log_softmax(logits.T, dim=1)).sum(1).mean()
    return (rows + columns) / 2
