"""A frozen encoder: no gradients, evaluation mode, not in the optimizer, everything else as usual."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import AdamW

from segattn.attention import BAM
from segattn.checkpoints import load_model
from segattn.training.command import main
from tests.training.test_task import TINY, loader, tiny_task, trainer
from tests.training.tiny_run import final_state, run_folder, write_config

FROZEN = replace(TINY, freeze=True)


def frozen_task(**options):
    return tiny_task(encoder=FROZEN, optimizer=partial(AdamW, lr=0.01, weight_decay=0.1), **options)


def copied(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.mark.parametrize("decay_norms", [True, False])
def test_training_changes_no_tensor_of_the_encoder(tmp_path, decay_norms):
    task = frozen_task(decay_norms=decay_norms)
    encoder, head = copied(task.model.encoder), copied(task.model.head)
    fitted = trainer(tmp_path, max_epochs=2)
    fitted.fit(task, loader(3), loader(1))
    assert any("running_mean" in key for key in encoder)
    assert all(torch.equal(value, encoder[key]) for key, value in task.model.encoder.state_dict().items())
    assert not all(torch.equal(value, head[key]) for key, value in task.model.head.state_dict().items())
    trained = {id(parameter) for group in fitted.optimizers[0].param_groups for parameter in group["params"]}
    assert trained == {id(parameter) for parameter in task.model.head.parameters()}


def test_the_encoder_stays_in_evaluation_mode():
    model = frozen_task().model
    for mode in (model, model.eval(), model.train()):
        assert not any(module.training for module in mode.encoder.modules())
    assert all(module.training for module in model.head.modules())
    assert all(module.training for module in tiny_task().model.encoder.modules())


def test_attention_inside_a_frozen_encoder_is_trained(tmp_path):
    task = frozen_task(residual_attention=partial(BAM, reduction=2))
    blocks = torch.nn.ModuleList(task.model.residual_attention)
    inside = {id(module) for module in blocks.modules()}
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in blocks.modules())
    assert all(module.training == (id(module) in inside) for module in task.model.encoder.body.modules())
    before = {name: value.clone() for name, value in task.model.encoder.body.named_parameters()}
    trainer(tmp_path, max_steps=1).fit(task, loader(1), loader(1))
    changed = {
        name for name, value in task.model.encoder.body.named_parameters() if not torch.equal(value, before[name])
    }
    of_blocks = {name for name, value in task.model.encoder.body.named_parameters() if value.requires_grad}
    assert len(of_blocks) == len(list(blocks.parameters()))
    assert changed
    assert changed <= of_blocks


def test_checkpoints_resume_and_init_from(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    short = ["--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1", "--check", "false"]
    fit = ["fit", "--config", "tiny.yaml", "--output", "runs", *short, "--model.encoder.freeze", "true"]
    with caplog.at_level("INFO"):
        assert main([*fit, "--trainer.max_epochs", "1"]) == 0
    assert caplog.text.count("warning: the frozen encoder has random weights") == 1
    halfway = final_state("runs")[0]
    resume = [*fit, "--ckpt_path", "last", "--trainer.max_epochs", "2"]
    with pytest.raises(ValueError, match=r"own optimizer and trained parameters .*freeze: true -> false"):
        main([*resume, "--model.encoder.freeze", "false"])
    caplog.clear()
    with caplog.at_level("INFO"):
        assert main(resume) == 0
    assert "random weights" not in caplog.text
    equal = {key for key, value in final_state("runs")[0].items() if torch.equal(value, halfway[key])}
    assert equal == {key for key in halfway if key.startswith("model.encoder.")}
    source = load_model(run_folder("runs")).model
    assert source.spec.encoder.freeze
    task = tiny_task(init_from=str(run_folder("runs")), init_part="encoder")
    assert all(parameter.requires_grad for parameter in task.model.parameters())
    encoder = task.model.encoder.state_dict()
    assert all(torch.equal(encoder[key], value) for key, value in source.encoder.state_dict().items())
