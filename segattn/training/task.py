"""The LightningModule: steps of training, validation, test and prediction, and what they log."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torchmetrics import MeanMetric

from segattn.attention.identity_start import IdentityStart
from segattn.checkpoints import CONTENT, Part, describe_model, initialize
from segattn.heads import FCNHead
from segattn.inference import InferenceConfig, infer, infer_labels, predicted_classes
from segattn.metrics.evaluation import Evaluation, FurtherScores
from segattn.models import ModelSpec, SegmentationModel
from segattn.models.layer_depths import layer_depths
from segattn.models.model_spec import HeadFactory
from segattn.objects.size_bins import ObjectSizes
from segattn.sample import IGNORE_INDEX, Batch, ClassTable
from segattn.training.losses import CrossEntropy, for_mask
from segattn.training.schedule import PolynomialSchedule

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class NonFiniteLossError(RuntimeError):
    """The loss became nan or infinite; another step would ruin the weights."""


class SegmentationTask(LightningModule):
    """Trains a segmentation model and evaluates it at the resolution of the annotation.

    Args:
        classes: classes of the data set.
        inference: how the model is applied to images in validation, test and prediction.
        head: a head class, or a partial of one; null for :class:`segattn.heads.FCNHead`. Any other default than null
            would leave its arguments in the config of a head that replaces it.
        init_from: checkpoint or encoder weights to start from; also a checkpoint that ``segattn import`` reads. The
            encoder's own ``weights`` are then not loaded. Null for none.
        init_part: ``all`` copies all weights that match; ``encoder`` copies the encoder, which must match completely.
        object_sizes: how validation and test split the scores by object size; null does not split them.
        further_scores: additional scores of ``validate`` and ``test``; null for none.
        loss: loss of logits and mask, also used for the auxiliary logits; null is cross-entropy.
        auxiliary_weights: weight of the auxiliary losses, one for all or one per name.
        optimizer: an optimizer class, or a partial of one; called with the parameter groups.
        schedule: schedule of the learning rate, stepped every iteration.
        head_lr_factor: learning rate of attention and head relative to that of the encoder.
        layer_decay: learning rate of each layer of a timm encoder relative to that of the next layer, and of the last
            layer relative to the optimizer's; 1 for the same rate in all layers.
        decay_norms: whether weight decay also applies to norms and biases. It never applies to the gammas of blocks
            that start as the identity.
        compile: run the model through ``torch.compile``.
        model: the fields of :class:`segattn.models.ModelSpec` except ``num_classes`` and ``head``.

    Raises:
        ValueError: if an argument is out of range, does not fit the head, or has no effect.
    """

    def __init__(
        self,
        classes: ClassTable,
        inference: InferenceConfig = InferenceConfig(),
        *,
        head: HeadFactory | None = None,
        init_from: str | None = None,
        init_part: Part = "all",
        object_sizes: ObjectSizes | None = ObjectSizes(),
        further_scores: FurtherScores | None = FurtherScores(),
        loss: nn.Module | None = None,
        auxiliary_weights: float | dict[str, float] = 0.4,
        optimizer: OptimizerFactory = lambda params: SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule: PolynomialSchedule = PolynomialSchedule(),
        head_lr_factor: float = 1.0,
        layer_decay: float = 1.0,
        decay_norms: bool = True,
        compile: bool = False,
        **model: Any,
    ) -> None:
        super().__init__()
        if head_lr_factor <= 0:
            raise ValueError(f"head_lr_factor must be positive, got {head_lr_factor}.")
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {layer_decay}.")
        self.classes = classes
        self.inference = inference
        if init_from is None and init_part != "all":
            raise ValueError(f"init_part {init_part} has no effect without init_from.")
        spec = ModelSpec(num_classes=len(classes), head=head or FCNHead, **model)
        if init_from:
            spec = replace(spec, encoder=replace(spec.encoder, weights=None))
        self._compile = compile
        self.use_model(SegmentationModel(spec))
        self.initialized = initialize(self.model, init_from, classes=classes, part=init_part) if init_from else []
        self.loss = CrossEntropy() if loss is None else loss
        try:
            inspect.signature(self.loss.forward).bind("logits", "mask")
        except TypeError as error:
            raise ValueError(f"{type(self.loss).__name__} is not a loss of logits and a mask: {error}.") from error
        if getattr(self.loss, "ignore_index", IGNORE_INDEX) != IGNORE_INDEX:
            name, value = type(self.loss).__name__, self.loss.ignore_index
            raise ValueError(f"{name} ignores {value}, but ignored pixels are {IGNORE_INDEX}: set ignore_index.")
        self.auxiliary_weights = _auxiliary_weights(auxiliary_weights, self.model.head.auxiliary_names)
        self.optimizer = optimizer
        self.schedule = schedule
        self.head_lr_factor = head_lr_factor
        if layer_decay < 1 and spec.encoder.freeze:
            raise ValueError(f"layer_decay {layer_decay} has no effect on a frozen encoder.")
        depths = layer_depths(self.model.encoder) if layer_decay < 1 else {}
        self._lr_factors = {
            f"encoder.{name}": layer_decay ** (1 + max(depths.values()) - depth) for name, depth in depths.items()
        }
        self.decay_norms = decay_norms
        self.object_sizes = object_sizes
        self.evaluation = Evaluation(classes, object_sizes, further_scores)
        self._shown = f"miou_{object_sizes.names[0]}" if object_sizes else ""
        self.image_loss = MeanMetric(nan_strategy="disable")
        self._validations = 0

    def use_model(self, model: SegmentationModel) -> None:
        """Replace the model, for example by that of a checkpoint."""
        if self._compile:
            model.compile()
        self.model = model

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step by its number, so that a resumed run draws the same random numbers as an uninterrupted one."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed(hash((seed, step, self.global_rank)) % 2**63)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, classes, h, w) of images (b, 3, h, w) in 0..1, in one pass and at the size of the images."""
        logits: Tensor = self.model(images).logits
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Weighted sum of the losses of the logits and the auxiliary logits."""
        output = self.model(batch["image"])
        loss_of = for_mask(self.loss, batch["mask"])
        auxiliary = {name: loss_of(logits) for name, logits in output.auxiliary.items()}
        total = loss_of(output.logits)
        for name, loss in auxiliary.items():
            total = total + self.auxiliary_weights[name] * loss
        if not torch.isfinite(total):
            raise NonFiniteLossError(
                f"The loss became {total.item()} at step {self.global_step} (epoch {self.current_epoch}) on "
                f"{', '.join(batch['name'])}: try a lower learning rate, a warm-up, or precision 32."
            )
        self.log("train/loss", total.detach(), prog_bar=True)
        self.log_dict({f"train/loss_{name}": loss.detach() for name, loss in auxiliary.items()})
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Predicted classes (b, h, w) at annotation resolution.

        The logged loss is always the cross-entropy averaged over images, so that runs are comparable; other losses can
        take as long as the model itself (Lovasz: 15 s for 19 classes at 1024x2048 on a CPU).
        """
        logits = infer(self, batch["image"], self.inference)
        loss, images = CrossEntropy(), zip(logits, batch["mask"], strict=True)
        losses = [loss(image_logits[None], mask[None]) for image_logits, mask in images]
        self.image_loss.update(torch.stack(losses))
        self.log(f"{self._stage}/loss", self.image_loss, on_epoch=True)  # Lightning's mean is wrong if ranks differ
        prediction = predicted_classes(logits)
        self.evaluation.update(prediction, batch, **self._parts)
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log the scores of all images and processes."""
        scores = self.evaluation.compute(**self._parts)
        if self.trainer.sanity_checking:
            self.evaluation.scores = {}
            return
        stage = self._stage
        self.log(f"{stage}/miou", scores["miou"].float(), prog_bar=True)
        for name, value in {**scores, **scores.get("sizes", {}), **scores.get("further", {})}.items():
            if isinstance(value, Tensor) and value.ndim == 0 and not torch.isnan(value) and name != "miou":
                self.log(f"{stage}/{name}", value.float(), prog_bar=name == self._shown)
        for name, value in zip(self.classes.names, scores["iou"], strict=True):
            self.log(f"{stage}/iou/{name}", value.float())
        self._validations += 1

    test_step, on_test_epoch_end = validation_step, on_validation_epoch_end

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Predicted classes (b, h, w) at the size of the images; the batch needs no more than ``image``."""
        return infer_labels(self, batch["image"], self.inference)

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule of the learning rate, stepped every iteration."""
        optimizer = self.optimizer(self._parameter_groups())
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_factor")
        scheduler = self.schedule.scheduler(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what prediction needs besides the weights: classes, inference config and model, as plain data."""
        checkpoint[CONTENT] = describe_model(self.model, self.classes, self.inference)
        checkpoint["validations"] = self._validations

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue counting the validations, of which every n-th splits the scores by object size."""
        self._validations = checkpoint.get("validations", 0)

    @property
    def _stage(self) -> str:
        return "test" if self.trainer.testing else "val"

    @property
    def _parts(self) -> dict[str, bool]:
        """Whether this evaluation splits the scores by object size, and whether it computes the further scores."""
        if self.trainer.state.fn != "fit":
            return {"with_sizes": True, "with_further": True}
        every = self.object_sizes.every if self.object_sizes else 1
        last = self.global_step >= self.trainer.estimated_stepping_batches
        return {"with_sizes": last or self._validations % every == 0, "with_further": False}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate and by whether weight decay applies."""
        norms = {
            id(parameter)
            for module in self.model.modules()
            if isinstance(module, _NORMS)
            for parameter in module.parameters(recurse=False)
        }
        gammas = {id(module.gamma) for module in self.model.modules() if isinstance(module, IdentityStart)}
        inserted = {id(parameter) for block in self.model.residual_attention for parameter in block.parameters()}
        groups: dict[tuple[bool, float, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                decays = self.decay_norms or not (id(parameter) in norms or name.endswith("bias"))
                decays = decays and id(parameter) not in gammas
                in_encoder = name.startswith("encoder.")
                is_pretrained = in_encoder and id(parameter) not in inserted
                factor = self._lr_factors.get(name, 1.0 if is_pretrained else self.head_lr_factor)
                groups.setdefault((in_encoder, factor, decays), []).append(parameter)
        return [
            {"params": parameters, "lr_factor": factor} | ({} if decays else {"weight_decay": 0.0})
            for (_, factor, decays), parameters in groups.items()
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
