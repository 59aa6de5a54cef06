"""Reconstruction attack: a small U-Net learns to undo the treatment on other people, then the face is recognised.

The attacker has the tool, so he has pairs: he treats pictures of people he knows and trains a network to turn the
treated face back. It is trained on some identities and tested on the others, per variant, on faces aligned as the
recogniser wants them. What it restores is described by the recogniser and looked for among the originals.

The network is small; it is trained until the error on people held out of the training stops falling, or says that it
did not. What falls to it is not safe; what withstands it may still fall to a larger one.

Source:
    Ronneberger, Fischer and Brox, U-Net, 2015; pixel shuffling: Shi et al., CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.records import Floats, Image
from anonymizer.evaluation.matching import Mode, compare, has_repeats
from anonymizer.evaluation.protocols import GALLERY, finding
from anonymizer.evaluation.records import Context, Embeddings, Finding, Recognizer, Skipped, Subject
from anonymizer.recognize.align import ARCFACE_TEMPLATE, align, landmarks_from_box, neighbourhood

if TYPE_CHECKING:
    import torch

__all__ = ["Settings", "Trained", "Undo", "face_crop", "run", "train", "unet"]

NAME, LABEL = "reconstruction", "face"
#: Proportion of the training identities on which the error is watched, and the proportion of it that a round must gain.
HELD_OUT, GAIN = 0.2, 0.01
#: Side in pixels of the aligned faces: what recognisers of ArcFace's kind take.
SIDE = 112


@dataclass(frozen=True, slots=True)
class Settings:
    """How the network is trained.

    Args:
        steps: Gradient steps of one round.
        rounds: Most rounds per variant: training ends when a round makes the error on held-out people no smaller.
        batch: Faces per step.
        rate: Highest learning rate of the one-cycle schedule.
        width: Channels of the first level; 28 gives 0.30 million parameters.
        most_faces: Most faces used, drawn by identity; bounds memory and time on large sets.
        least_identities: Fewer than these teach nothing that holds for others.
        proportion: Proportion of the identities that train.
    """

    steps: int = 200
    rounds: int = 5
    batch: int = 16
    rate: float = 4e-3
    width: int = 28
    most_faces: int = 1500
    least_identities: int = 20
    proportion: float = 0.5


#: Turns treated faces, uint8 (N, 112, 112, 3), into restored ones of the same shape.
Undo = Callable[[Image], Image]


def unet(width: int) -> torch.nn.Module:
    """Return the network: float (N, 3, 112, 112) in [0, 1] to the same, as its input, recoloured, plus a correction.

    Pixels are first shuffled into 48 channels at a quarter of the size, which makes it fast on a CPU.

    Args:
        width: Channels of the first level; two and three times as many on the next ones.
    """
    import torch
    from torch import nn

    def block(taken: int, given: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(taken, given, 3, padding=1), nn.BatchNorm2d(given), nn.SiLU(),
            nn.Conv2d(given, given, 3, padding=1), nn.BatchNorm2d(given), nn.SiLU(),
        )  # fmt: skip

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            one, two, three = width, 2 * width, 3 * width
            self.first, self.second, self.third = block(48, one), block(one, two), block(two, three)
            self.up_second, self.up_first = block(three + two, two), block(two + one, one)
            self.direct, self.last = (nn.Conv2d(taken, 48, 1, bias=False) for taken in (48, one))
            # Training starts from leaving the face as it is.
            nn.init.dirac_(self.direct.weight)
            nn.init.zeros_(self.last.weight)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            packed = nn.functional.pixel_unshuffle(image, 4)  # (N, 3, 112, 112) -> (N, 48, 28, 28)
            one = self.first(packed)
            two = self.second(nn.functional.avg_pool2d(one, 2))
            three = self.third(nn.functional.avg_pool2d(two, 2))
            up = self.up_second(torch.cat([nn.functional.interpolate(three, scale_factor=2.0), two], dim=1))
            up = self.up_first(torch.cat([nn.functional.interpolate(up, scale_factor=2.0), one], dim=1))
            restored: torch.Tensor = nn.functional.pixel_shuffle(self.direct(packed) + self.last(up), 4)
            return restored

    return Net()


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained network.

    Args:
        undo: Restores faces.
        parameters: Number of its weights.
        error: Mean absolute error on held-out people, in levels of 0 to 255.
        rounds: How many rounds it was trained for; the best of them is kept.
        stopped: Whether the error had stopped falling.
    """

    undo: Undo
    parameters: int
    error: float
    rounds: int
    stopped: bool


def train(treated: Image, originals: Image, identities: Sequence[str], settings: Settings, seed: int) -> Trained:
    """Train the network to turn treated faces into originals, until people held out gain nothing more.

    Args:
        treated: uint8 (N, 112, 112, 3).
        originals: uint8 (N, 112, 112, 3), the same faces.
        identities: Who each face shows; a fifth of them, at least one, is held out.
        settings: How.
        seed: Decides weights, batches and who is held out.

    Raises:
        InputError: Faces of one identity only.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(np.array(identities)))
    if len(names) < 2:
        raise InputError(f"identities: expected at least two, to hold one out, got {len(names)}")
    held = np.isin(np.array(identities), names[: max(round(HELD_OUT * len(names)), 1)])
    teaching = np.flatnonzero(~held)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        net = unet(settings.width).to(device)

    def undo(faces: Image) -> Image:
        out = []
        with torch.inference_mode():
            for start in range(0, len(faces), 64):
                restored = net(_tensor(faces[start : start + 64], False).to(device)).clamp(0, 1).cpu().numpy()
                out.append(np.rint(restored.transpose(0, 2, 3, 1) * 255).astype(np.uint8))
        return np.concatenate(out) if out else np.zeros_like(faces)

    best, weights, stopped, done = np.inf, net.state_dict(), False, 0
    while done < settings.rounds and not stopped:
        net.train()
        optimizer = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.rate, total_steps=settings.steps, pct_start=0.2
        )
        for _ in range(settings.steps):
            rows = rng.choice(teaching, settings.batch)
            flip = bool(rng.integers(2))
            given, wanted = (_tensor(faces[rows], flip).to(device) for faces in (treated, originals))
            restored = net(given)
            loss = (restored - wanted).abs().mean() + sum(
                (restored.diff(dim=axis) - wanted.diff(dim=axis)).abs().mean() for axis in (2, 3)
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        net.eval()
        done += 1
        error = float(np.abs(undo(treated[held]).astype(np.int16) - originals[held]).mean())
        stopped = error > best * (1 - GAIN)
        if error < best:
            best, weights = error, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(weights)
    net.eval()
    return Trained(undo, sum(parameter.numel() for parameter in net.parameters()), best, done, stopped)


def face_crop(image: Image, subject: Subject) -> Image:
    """Return a face aligned to ArcFace's template by the original's landmarks: RGB uint8 (112, 112, 3).

    Raises:
        InputError: The box lies outside the picture or the landmarks coincide.
    """
    part, corner = neighbourhood(image, subject.box)
    points = landmarks_from_box(subject.box) if subject.landmarks is None else subject.landmarks
    return align(part, points - corner, ARCFACE_TEMPLATE, SIDE)


def run(context: Context, settings: Settings | None = None) -> list[Finding | Skipped]:
    """Train on half of the identities and recognise the restored faces of the others, in every variant but originals.

    Args:
        context: Pictures, variants and recognisers.
        settings: How the network is trained; ``Settings()`` if None.
    """
    chosen = settings or Settings()
    out: list[Finding | Skipped] = []
    if "person" in context.labels:
        out.append(Skipped(NAME, "person", "only faces are restored: bodies have no common alignment"))
    if LABEL not in context.labels:
        return out
    recognizers = context.of(LABEL)
    if not recognizers:
        return [*out, Skipped(NAME, LABEL, "no recogniser of this class is at hand")]
    known = {r.name: context.store.embeddings("original", r) for r in recognizers}
    usable = np.logical_and.reduce([e.found for e in known.values()])
    subjects, trains = _split(context, next(iter(known.values())), usable, chosen)
    identities = len({known[recognizers[0].name].identities[row] for row in subjects})
    if identities < chosen.least_identities:
        reason = f"{identities} identities to train and test on, needs at least {chosen.least_identities}"
        return [*out, Skipped(NAME, LABEL, reason)]
    variants = [name for name in context.variants if name != "original"]
    crops = _crops(context, [known[recognizers[0].name].keys[row] for row in subjects], variants)
    for variant in variants:
        seed = int(context.rng(NAME, variant).integers(2**31))
        teachers = [known[recognizers[0].name].identities[row] for row in subjects[trains]]
        trained = train(crops[variant][trains], crops["original"][trains], teachers, chosen, seed)
        restored = trained.undo(crops[variant][~trains])
        ended = "where it stopped falling" if trained.stopped else "STILL FALLING: a longer training may restore more"
        notes = (
            f"U-Net of {trained.parameters} parameters, {trained.rounds} rounds of {chosen.steps} steps of "
            f"{chosen.batch} faces, one seed, trained on {int(trains.sum())} faces; error on held-out people "
            f"{trained.error:.1f} of 255 per channel, {ended}",
        )
        for recognizer in recognizers:
            gallery = known[recognizer.name]
            probe = _described(restored, gallery, subjects[~trains], recognizer)
            untouched = context.store.embeddings(variant, recognizer)
            modes: tuple[Mode, ...] = ("other", "own") if has_repeats(gallery) else ("own",)
            for mode in modes:
                protocol = f"probe restored by a U-Net, {GALLERY[mode]}"
                found = finding(context, NAME, recognizer, variant, probe, gallery, mode, protocol, notes)
                out.append(_beside(context, found, untouched, gallery, subjects[~trains], mode))
    return out


def _split(
    context: Context, known: Embeddings, usable: NDArray[np.bool_], settings: Settings
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the rows that take part, and which of them train; no identity is on both sides."""
    rng = context.rng(NAME, "split")
    names, numbers = np.unique(np.array(known.identities, dtype=str), return_inverse=True)
    order = rng.permutation(len(names))
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(place[numbers[rows]], kind="stable")][: settings.most_faces]
    taking = np.unique(place[numbers[rows]])
    training = taking[: round(settings.proportion * len(taking))]
    rows = np.sort(rows)
    return rows.astype(np.int64), np.isin(place[numbers[rows]], training)


def _crops(context: Context, keys: Sequence[str], variants: Sequence[str]) -> dict[str, Any]:
    """Write the aligned faces of every variant to files, in the order of keys: uint8 (N, 112, 112, 3) each."""
    wanted = {key: row for row, key in enumerate(keys)}
    out: dict[str, Any] = {}
    for name in ("original", *variants):
        file = context.folder / f"{NAME}-{len(out)}.npy"
        out[name] = np.lib.format.open_memmap(file, "w+", np.uint8, (len(keys), SIDE, SIDE, 3))
    for pair in context.dataset.pairs:
        every = context.dataset.subjects(pair)
        faces = [subject for subject in every if subject.key in wanted]
        if not faces:
            continue
        original = context.dataset.original(pair)
        for name, array in out.items():
            image = original if name == "original" else context.variants[name](pair, original, every)
            for subject in faces:
                array[wanted[subject.key]] = face_crop(image, subject)
    return out


def _described(restored: Image, known: Embeddings, rows: NDArray[np.int64], recognizer: Recognizer) -> Embeddings:
    """Return the descriptions of restored faces under the names of their subjects."""
    whole = np.array([0, 0, SIDE, SIDE], np.float32)
    vectors = [recognizer.embed(face, whole, ARCFACE_TEMPLATE, None) for face in restored]
    return _rows(known, rows, np.stack(vectors).astype(np.float32))


def _rows(known: Embeddings, rows: NDArray[np.int64], vectors: Floats) -> Embeddings:
    keys, identities, pictures = (
        tuple(column[row] for row in rows) for column in (known.keys, known.identities, known.pictures)
    )
    found: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1), np.bool_)
    return Embeddings(keys, identities, pictures, vectors, found)


def _beside(
    context: Context,
    found: Finding,
    untouched: Embeddings,
    gallery: Embeddings,
    rows: NDArray[np.int64],
    mode: Mode,
) -> Finding:
    """Add what the same probes give without being restored, so that the gain is not one of another sample."""
    probe = _rows(untouched, rows, untouched.vectors[rows])
    plain = compare(probe, gallery, mode, context.rng(NAME, found.variant, mode), context.bootstrap)
    more = {
        f"{name}_not_restored": plain.estimates[name] for name in ("rank1", "map", "auc") if name in plain.estimates
    }
    return replace(found, estimates={**found.estimates, **more})


def _tensor(faces: Image, flip: bool) -> torch.Tensor:
    import torch

    turned = faces[:, :, ::-1] if flip else faces
    # (N, h, w, 3) -> (N, 3, h, w) in [0, 1]
    return torch.from_numpy(np.ascontiguousarray(turned.transpose(0, 3, 1, 2))).float() / 255
