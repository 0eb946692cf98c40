import pytest


@pytest.mark.parametrize("special", [{}, {"model_type": "gemma2", "final_logit_softcapping": 5.0, "head_dim": 8}])
def test_the_loss_and_its_gradient_are_those_of_trl(tmp_path, special):
    import torch
    from datasets import Dataset
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    from safefed.trainer import Trainer

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0}  # fmt: skip
    options = {"model_type": "llama", **sizes, **special}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**options))
    rows = Dataset.from_list([
        {"input_ids": [1, 2, 3, 4, 5], "labels": [-100, -100, 3, 4, 5]},
        {"input_ids": [6, 7, 8], "labels": [-100, 7, 8]},
    ])  # fmt: skip
    settings = SFTConfig(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None, bf16=False, per_device_train_batch_size=2,
    )  # fmt: skip
    found = []
    for kind in (Trainer, SFTTrainer):
        trainer = kind(model=model, args=settings, train_dataset=rows, processing_class=_tokenizer())
        batch = next(iter(trainer.get_train_dataloader()))
        loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=torch.tensor(5))
        loss.backward()
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])))
        model.zero_grad()

    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


@pytest.mark.parametrize("special", [{}, {"model_type": "gemma2", "final_logit_softcapping": 5.0, "head_dim": 8}])
def test_the_preference_loss_and_its_gradient_are_those_of_trl(tmp_path, special):
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    from safefed.trainer import PreferenceTrainer

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0}  # fmt: skip
    base = AutoModelForCausalLM.from_config(AutoConfig.for_model(**{"model_type": "llama", **sizes, **special}))
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(base, lora)
    rows = Dataset.from_list([
        {"prompt_ids": [1, 2], "chosen_ids": [3, 4, 5], "rejected_ids": [6, 7]},
        {"prompt_ids": [6, 7, 8], "chosen_ids": [9], "rejected_ids": [10, 11, 12]},
    ])  # fmt: skip
    settings = DPOConfig(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], max_length=None, bf16=False, beta=0.3,
        per_device_train_batch_size=2, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = PreferenceTrainer(model=model, args=settings, train_dataset=rows, processing_class=_tokenizer())
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "default" in name:
                parameter += 0.3 * torch.randn_like(parameter)  # away from the reference, where the loss is log 2
    found = []
    for kind in (PreferenceTrainer, DPOTrainer):
        loss = kind.compute_loss(trainer, model, dict(batch))
        loss.backward()
        gradients = [p.grad.flatten() for n, p in model.named_parameters() if "default" in n]
        found.append((loss.item(), torch.cat(gradients)))
        model.zero_grad()

    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0][0] != pytest.approx(0.6931, abs=1e-3)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_the_distance_from_the_base_is_a_divergence_over_answers_alone_and_moves_the_adapter_alone(tmp_path):
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl import SFTConfig

    from safefed.trainer import DistillationTrainer, _without_adapter

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2, "pad_token_id": 0, "resid_pdrop": 0.5}
    base = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type="gpt2", **sizes))
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(base, lora)
    answers = [[3, 4, 5], [7]]
    rows = [
        {"input_ids": [1, 2, *answers[0]], "labels": [-100, -100, *answers[0]]},
        {"input_ids": [6, *answers[1]], "labels": [-100, *answers[1]]},
    ]
    settings = SFTConfig(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None, bf16=False, per_device_train_batch_size=2,
    )  # fmt: skip
    data = Dataset.from_list(rows)
    trainer = DistillationTrainer(model=model, args=settings, train_dataset=data, processing_class=_tokenizer())
    batch = next(iter(trainer.get_train_dataloader()))
    model.eval()  # so that the model's own dropout is not in the comparison
    found = trainer.compute_loss(model, dict(batch), num_items_in_batch=torch.tensor(4))
    found.backward()

    expected = 0.0
    with torch.no_grad():
        for row, answer in zip(rows, answers, strict=True):
            ids, places = torch.tensor([row["input_ids"]]), slice(-len(answer) - 1, -1)
            own = model(input_ids=ids).logits[0, places].log_softmax(-1)
            with model.disable_adapter():
                wanted = model(input_ids=ids).logits[0, places].log_softmax(-1)
            expected += float((wanted.exp() * (wanted - own)).sum()) / 4
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert found.item() > 0
    assert {"lora" in name for name, p in model.named_parameters() if p.grad is not None} == {True}

    model.train()
    with _without_adapter(model):
        assert not model.training
        assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert model.training


def _tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({f"t{i}": i for i in range(50)}, unk_token="t0")),
        pad_token="t0",
        eos_token="t1",
    )
