"""What a model adds to a prompt is its own, whatever shares its batch; its routing is exact."""

from array import array

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    DynamicCache,
)

from gatehouse.models.capture import RoutingTap
from gatehouse.models.text.generation import Choice, Generator, ending_tokens, generating_class
from gatehouse.models.zoo import LoadedModel, resolve
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow
from tests.conftest import DEMO
from tests.models.families.builders import BUILDERS

PROMPTS = [
    TokenWindow(number, 0, array("i", range(5, 5 + length)))
    for number, length in enumerate([3, 9, 4, 9, 1, 6])
]
ADDED = 8


@pytest.fixture(scope="module")
def loaded(tiny_mixtral) -> LoadedModel:
    return resolve(str(tiny_mixtral), dtype="float32").load(head=AutoModelForCausalLM)


def continuations(
    loaded: LoadedModel, choice: Choice, rows: int = 6, batching: str = "padded", ends=()
) -> dict[int, list[int]]:
    generator = Generator(loaded, choice, ends, batching)
    batches = [PROMPTS[start : start + rows] for start in range(0, len(PROMPTS), rows)]
    return {key: list(added) for key, added in generator.continuations(batches).items()}


def test_the_likeliest_tokens_are_those_of_transformers(loaded, tiny_mixtral):
    found = continuations(loaded, Choice(ADDED))
    model = AutoModelForCausalLM.from_pretrained(tiny_mixtral, dtype=torch.float32)
    for prompt in PROMPTS:
        token_ids = torch.tensor([list(prompt.token_ids)])
        whole = model.generate(token_ids, max_new_tokens=ADDED, do_sample=False, eos_token_id=None)
        assert found[prompt.sample_id] == whole[0, token_ids.shape[1] :].tolist()


@pytest.mark.parametrize("choice", [Choice(ADDED), Choice(ADDED, 0.8, 3)])
@pytest.mark.parametrize(("rows", "batching"), [(1, "padded"), (2, "padded"), (6, "equal")])
def test_what_shares_a_batch_changes_no_token(loaded, choice, rows, batching):
    assert continuations(loaded, choice, rows, batching) == continuations(loaded, choice)


def test_a_seed_draws_the_same_every_time_and_another_draws_others(loaded):
    drawn = continuations(loaded, Choice(ADDED, 1.5, 1))
    assert drawn == continuations(loaded, Choice(ADDED, 1.5, 1))
    assert drawn != continuations(loaded, Choice(ADDED, 1.5, 2))
    # little heat is none
    assert continuations(loaded, Choice(ADDED, 1e-6, 1)) == continuations(loaded, Choice(ADDED))


def test_tokens_are_drawn_by_their_shares(loaded):
    """A thousand samples of one prompt: the likeliest first tokens come up as often as they may."""
    token_ids = PROMPTS[0].token_ids
    prompts = [TokenWindow(number, 0, token_ids) for number in range(1000)]
    temperature = 0.2
    found = Generator(loaded, Choice(1, temperature), (), "padded").continuations([prompts])
    drawn = torch.tensor([added[0] for added in found.values()]).bincount(minlength=4096) / 1000
    with torch.inference_mode():
        logits = loaded.head(torch.tensor([list(token_ids)])).logits[0, -1]
    shares = (logits.double() / temperature).softmax(0)
    assert shares.max() < 0.95
    assert (drawn - shares).abs().max() < 4 * (0.25 / 1000) ** 0.5


def test_a_text_ends_where_the_model_ends_it(loaded):
    whole = continuations(loaded, Choice(ADDED))
    ends = {whole[1][3]}
    for sample_id, added in continuations(loaded, Choice(ADDED), ends=ends).items():
        stop = next((n for n, token in enumerate(whole[sample_id]) if token in ends), ADDED)
        assert added == whole[sample_id][: stop + 1]


def test_no_token_is_added_that_the_tokenizer_does_not_have(loaded, monkeypatch):
    likeliest = {added[0] for added in continuations(loaded, Choice(1)).values()}
    vocabulary = {
        token: index
        for token, index in loaded.tokenizer.get_vocab().items()
        if index not in likeliest
    }
    monkeypatch.setattr(loaded.tokenizer, "get_vocab", lambda: vocabulary)
    found = {added[0] for added in continuations(loaded, Choice(1)).values()}
    assert found <= set(vocabulary.values())


def test_an_id_without_an_embedding_is_found_wherever_it_is_in_a_prompt(loaded):
    prompts = [TokenWindow(0, 0, array("i", [5])), TokenWindow(1, 0, array("i", [5, 6, 4096]))]
    with pytest.raises(GatehouseError, match="the tokenizer gives token id 4096"):
        Generator(loaded, Choice(ADDED), (), "padded").continuations([prompts])


def test_the_routing_is_that_of_decoding_step_by_step_with_a_cache(loaded):
    """The same set of experts for every token and layer, though each was routed by itself."""
    added = continuations(loaded, Choice(ADDED))
    with RoutingTap(loaded.model) as tap:
        for prompt in PROMPTS:
            token_ids = [*prompt.token_ids, *added[prompt.sample_id]]
            at_once = tap.route([TokenWindow(prompt.sample_id, 0, array("i", token_ids))])
            for site, layer, steps in zip(
                tap.sites,
                at_once,
                decoded(loaded, tap, token_ids, len(prompt.token_ids)),
                strict=True,
            ):
                experts = torch.tensor(layer.experts.astype("int64")).sort(1).values
                assert experts.equal(steps.sort(1).values), site.router_path


def decoded(
    loaded: LoadedModel, tap: RoutingTap, token_ids: list[int], prompt: int
) -> list[torch.Tensor]:
    """Return [T, k] experts of each layer: the prompt at once, then a token at a time."""
    seen: list[list[torch.Tensor]] = [[] for _ in tap.sites]
    hooks = [
        site.experts.register_forward_pre_hook(
            lambda module, arguments, found=found: found.append(arguments[1])
        )
        for site, found in zip(tap.sites, seen, strict=True)
    ]
    cache = DynamicCache()
    with torch.inference_mode():
        for part in (token_ids[:prompt], *([each] for each in token_ids[prompt:])):
            loaded.head(torch.tensor([part]), cache=cache, use_cache=True)
    for hook in hooks:
        hook.remove()
    return [torch.cat(found) for found in seen]


def test_tokens_that_end_a_text_are_those_that_the_files_state(tiny_mixtral):
    plan = resolve(str(tiny_mixtral))
    assert ending_tokens(plan) == sorted({plan.tokenizer.eos_token_id, 2})


@pytest.mark.parametrize(
    ("family", "loader"),
    [
        ("qwen3_moe", AutoModelForCausalLM),
        ("qwen3_5_moe", AutoModelForImageTextToText),
        ("switch_transformers", None),
    ],
)
def test_a_model_without_a_head_is_refused_in_one_line(tmp_path, family, loader):
    BUILDERS[family]().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(tmp_path)
    plan = resolve(str(tmp_path))
    if loader:
        assert generating_class(plan) is loader
    else:
        with pytest.raises(GatehouseError, match=r"--generate: .* does not generate text"):
            generating_class(plan)
