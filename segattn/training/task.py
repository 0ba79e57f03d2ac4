"""Training, validation and test of a model: steps and logging, nothing else."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from segattn.checkpoints import CONTENT, Part, describe_model, initialize
from segattn.data import SegmentationDataModule
from segattn.heads import FCNHead
from segattn.inference import InferenceConfig, infer_labels
from segattn.metrics.evaluation import Evaluation, FurtherScores
from segattn.models.encoders import EncoderSpec
from segattn.models.residual_attention import Position
from segattn.models.segmentation_model import AttentionFactory, HeadFactory, SegmentationModel
from segattn.objects.size_bins import ObjectSizes
from segattn.sample import Batch, ClassTable
from segattn.training.losses import CrossEntropy
from segattn.training.schedule import PolynomialSchedule

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class NonFiniteLossError(RuntimeError):
    """The loss became nan or infinite: training on would ruin the weights."""


class SegmentationTask(LightningModule):
    """Trains a segmentation model and scores it on whole images.

    Args:
        classes: of the data set; the command takes them from the data module.
        inference: how the model is applied to images in validation and test; the command takes its size rule from the
            data module.
        encoder: name, weights and output stride of the encoder.
        head: class of the head and its arguments.
        attention: block on levels of the encoder; null for none.
        attention_levels: the levels that it refines, one block each; -1 is the last one.
        residual_attention: block inside every residual block of a ResNet-family encoder; null for none.
        residual_position: ``last`` (before the shortcut is added) or ``middle`` (before the last convolution).
        align_corners: whether resizing logits to the image's size maps corner pixels to corner pixels.
        pad_to_stride: whether images are padded to whole multiples of the output stride.
        init_from: checkpoint of this project, or of one that ``segattn import`` reads, or encoder weights, to start
            from; the encoder's own ``weights`` are then not loaded. Null for none.
        init_part: what is taken from it: ``all`` that fits, or the ``encoder``, which must fit completely.
        object_sizes: how validation and test split the scores by object size; null does not split them.
        further_scores: what ``validate`` and ``test`` compute beside them; null for nothing.
        loss: of the logits against the mask; the same for auxiliary logits.
        auxiliary_weights: weight of every auxiliary loss, one for all or one per name.
        optimizer: class of the optimizer and its arguments.
        schedule: of the learning rate, stepped every iteration.
        head_lr_factor: learning rate of attention and head relative to that of the encoder.
        decay_norms: whether weight decay applies to norms and biases too.
        compile: run the model through ``torch.compile``.
        channels_last: keep images and weights in the channels-last memory format.

    Raises:
        ValueError: if auxiliary weights are named that the head does not have, or a number is out of range.
    """

    def __init__(
        self,
        classes: ClassTable,
        inference: InferenceConfig = InferenceConfig(),
        *,
        encoder: EncoderSpec = EncoderSpec(),
        head: HeadFactory = FCNHead,
        attention: AttentionFactory | None = None,
        attention_levels: Sequence[int] = (-1,),
        residual_attention: AttentionFactory | None = None,
        residual_position: Position = "last",
        align_corners: bool = False,
        pad_to_stride: bool = True,
        init_from: str | None = None,
        init_part: Part = "all",
        object_sizes: ObjectSizes | None = ObjectSizes(),
        further_scores: FurtherScores | None = FurtherScores(),
        loss: nn.Module | None = None,
        auxiliary_weights: float | dict[str, float] = 0.4,
        optimizer: OptimizerFactory = lambda params: SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule: PolynomialSchedule = PolynomialSchedule(),
        head_lr_factor: float = 1.0,
        decay_norms: bool = True,
        compile: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if head_lr_factor <= 0:
            raise ValueError(f"head_lr_factor must be positive, got {head_lr_factor}.")
        self.classes = classes
        self.inference = inference
        if init_from is None and init_part != "all":
            raise ValueError(f"init_part {init_part} has no effect without init_from.")
        self.model = SegmentationModel(
            len(classes),
            replace(encoder, weights=None) if init_from else encoder,
            head,
            attention=attention,
            attention_levels=attention_levels,
            residual_attention=residual_attention,
            residual_position=residual_position,
            align_corners=align_corners,
            pad_to_stride=pad_to_stride,
        )
        self.initialized = initialize(self.model, init_from, classes=classes, part=init_part) if init_from else []
        self.loss = CrossEntropy() if loss is None else loss
        try:
            inspect.signature(self.loss.forward).bind("logits", "mask")
        except TypeError as error:
            raise ValueError(f"{type(self.loss).__name__} is no loss of logits and a mask: {error}.") from error
        self.auxiliary_weights = _auxiliary_weights(auxiliary_weights, self.model.head.auxiliary_names)
        self.optimizer = optimizer
        self.schedule = schedule
        self.head_lr_factor = head_lr_factor
        self.decay_norms = decay_norms
        self.object_sizes = object_sizes
        self.evaluation = Evaluation(classes, object_sizes, further_scores)
        self._shown = {f"miou_{bucket}" for bucket in (object_sizes.names if object_sizes else ())}
        self._validations = 0
        self.channels_last = channels_last
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        if compile:
            self.model.compile()

    def setup(self, stage: str) -> None:
        """Let the loading workers find the objects of every ground truth, unless most validations need none."""
        datamodule = getattr(self.trainer, "datamodule", None)
        if self.object_sizes and isinstance(datamodule, SegmentationDataModule):
            in_workers = stage != "fit" or self.object_sizes.every == 1
            datamodule.find_objects = self.evaluation.find_objects if in_workers else None

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed this step from its number, so that a resumed run draws what an uninterrupted one draws."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed(hash((seed, step, self.global_rank)) % 2**63)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, classes, h, w) of images (b, 3, h, w) in 0..1, in one pass and at the size of the images."""
        logits: Tensor = self.model(self._in_layout(images)).logits
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Weighted sum of the losses of the prediction and of the auxiliary outputs."""
        output = self.model(self._in_layout(batch["image"]))
        auxiliary = {name: self.loss(logits, batch["mask"]) for name, logits in output.auxiliary.items()}
        total: Tensor = self.loss(output.logits, batch["mask"])
        for name, loss in auxiliary.items():
            total = total + self.auxiliary_weights[name] * loss
        if not torch.isfinite(total):
            raise NonFiniteLossError(
                f"The loss became {total.item()} at step {self.global_step} (epoch {self.current_epoch}) on "
                f"{', '.join(batch['name'])}; try a lower learning rate, a warm-up, or precision 32."
            )
        self.log("train/loss", total.detach(), prog_bar=True)
        self.log_dict({f"train/loss_{name}": loss.detach() for name, loss in auxiliary.items()})
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Predicted classes (b, h, w) at annotation resolution."""
        prediction = infer_labels(self, batch["image"], self.inference)
        self.evaluation.update(prediction, batch, **self._parts)
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log the scores of all images and processes."""
        self._log_scores("val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Predicted classes (b, h, w) at annotation resolution."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the scores of all images and processes."""
        self._log_scores("test")

    def configure_optimizers(self) -> Any:
        """Parameter groups, optimizer and the schedule over every iteration."""
        optimizer = self.optimizer(self._parameter_groups())
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_factor")
        scheduler = self.schedule.scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what prediction needs, as plain data: classes, size rule and the model without its weights."""
        checkpoint[CONTENT] = describe_model(self.model, self.classes, self.inference)

    def _in_layout(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def _log_scores(self, stage: str) -> None:
        scores = self.evaluation.compute(**self._parts)
        self.log(f"{stage}/miou", scores["miou"].float(), prog_bar=True)
        for name, value in {**scores, **scores.get("sizes", {}), **scores.get("further", {})}.items():
            if isinstance(value, Tensor) and value.ndim == 0 and not torch.isnan(value) and name != "miou":
                self.log(f"{stage}/{name}", value.float(), prog_bar=name in self._shown)
        for name, value in zip(self.classes.names, scores["iou"], strict=True):
            self.log(f"{stage}/iou/{name}", value.float())
        if not self.trainer.sanity_checking:
            self._validations += 1

    @property
    def _parts(self) -> dict[str, bool]:
        """Whether this evaluation splits its scores by object size, and whether it computes further ones."""
        if self.trainer.state.fn != "fit":
            return {"with_sizes": True, "with_further": True}
        every = self.object_sizes.every if self.object_sizes else 1
        last = self.global_step >= self.trainer.estimated_stepping_batches
        return {"with_sizes": last or self._validations % every == 0, "with_further": False}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Encoder and rest, each split by whether weight decay applies."""
        norms = {
            id(parameter)
            for module in self.model.modules()
            if isinstance(module, _NORMS)
            for parameter in module.parameters(recurse=False)
        }
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                decays = self.decay_norms or not (id(parameter) in norms or name.endswith("bias"))
                groups.setdefault((name.startswith("encoder."), decays), []).append(parameter)
        return [
            {"params": parameters, "lr_factor": 1.0 if in_encoder else self.head_lr_factor}
            | ({} if decays else {"weight_decay": 0.0})
            for (in_encoder, decays), parameters in groups.items()
        ]


def _auxiliary_weights(weights: float | Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """One weight per auxiliary output of the head."""
    if not isinstance(weights, Mapping):
        return dict.fromkeys(names, weights)
    if set(weights) != set(names):
        raise ValueError(
            f"auxiliary_weights names {', '.join(weights) or 'nothing'}, but the head's auxiliary outputs are "
            f"{', '.join(names) or 'none'}; give one number for all, or one for each of them."
        )
    return dict(weights)
