"""Text embeddings, computed once per prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

__all__ = ["TextCache"]

#: Prompts remembered; 128 of SDXL take about 40 MB.
REMEMBERED = 128


class TextCache:
    """Encodes prompts with a pipeline's text encoders and remembers the result.

    Args:
        pipeline: A pipeline of diffusers.
        family: Its family, see ``loading``.
        negative_prompt: What not to paint; used with guidance only.
    """

    def __init__(self, pipeline: Any, family: str, negative_prompt: str) -> None:
        self._pipeline = pipeline
        self._names: tuple[str, ...] = ("prompt_embeds", "negative_prompt_embeds")
        if family == "sdxl":
            self._names += ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        self._negative = negative_prompt
        self._known: OrderedDict[tuple[str, bool], tuple[Any, ...]] = OrderedDict()

    def embed(self, prompts: Sequence[str], guided: bool) -> dict[str, Any]:
        """Return the pipeline's arguments that stand for prompts: tensors with one row each.

        Args:
            prompts: One per crop.
            guided: Whether classifier-free guidance needs the negative prompt, too.
        """
        import torch

        rows = [self._row(prompt, guided) for prompt in prompts]
        columns = zip(self._names, zip(*rows, strict=True), strict=True)
        return {name: torch.cat(parts) for name, parts in columns if parts[0] is not None}

    def _row(self, prompt: str, guided: bool) -> tuple[Any, ...]:
        key = prompt, guided
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        row = self._pipeline.encode_prompt(
            prompt=prompt,
            device=self._pipeline._execution_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=self._negative if guided else None,
        )
        # Without guidance SDXL returns negatives all the same; a batch must not carry what is not used.
        kept = tuple(
            part if guided or not name.startswith("negative") else None
            for name, part in zip(self._names, row, strict=True)
        )
        self._known[key] = kept
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return kept
