"""The code of a model that brings its own: a linear gate, and a list of experts called in turn."""

CONFIGURATION = """
from transformers import PretrainedConfig


class TinyRemoteConfig(PretrainedConfig):
    model_type = "tiny_remote"

    def __init__(self, hidden_size=32, num_hidden_layers=2, num_experts=4, **options):
        self.vocab_size = 4096
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_experts = num_experts
        super().__init__(**options)
"""

MODELING = """
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .configuration_tiny import TinyRemoteConfig


class TinyRemoteBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        size = config.hidden_size
        self.top_k = 2
        self.gate = nn.Linear(size, config.num_experts, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(size, 2 * size, bias=False),
                nn.SiLU(),
                nn.Linear(2 * size, size, bias=False),
            )
            for _ in range(config.num_experts)
        )

    def forward(self, hidden):
        rows = hidden.flatten(0, 1)
        weights, ids = torch.softmax(self.gate(rows).float(), dim=-1).topk(self.top_k)
        weights = (weights / weights.sum(dim=-1, keepdim=True)).to(rows.dtype)
        result = torch.zeros_like(rows)
        for index, expert in enumerate(self.experts):
            chosen, slots = torch.where(ids == index)
            weighted = expert(rows[chosen]) * weights[chosen, slots, None]
            result.index_add_(0, chosen, weighted)
        return result.view_as(hidden)


class TinyRemoteModel(PreTrainedModel):
    config_class = TinyRemoteConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            TinyRemoteBlock(config) for _ in range(config.num_hidden_layers)
        )
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def forward(self, input_ids, attention_mask=None, use_cache=None):
        hidden = self.embed_tokens(input_ids)
        for layer in self.layers:
            hidden = torch.nn.functional.normalize(hidden + layer(hidden), dim=-1)
        return BaseModelOutput(hidden)
"""
