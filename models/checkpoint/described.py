"""What a model is by its config alone: its MoE layers and tokenizer, for routing done elsewhere."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gatehouse.models.experts.expert_sizes import planned_bytes
from gatehouse.models.structure import block_count
from gatehouse.models.tokenizer import tokenizer_fingerprint, vocabulary
from gatehouse.models.zoo import ModelPlan, resolve
from gatehouse.warehouse.errors import GatehouseError

NO_TOKENIZER = "none"


@dataclass(frozen=True)
class Description:
    """A model that is not going to run."""

    plan: ModelPlan

    @property
    def name(self) -> str:
        """The alias or hub id as the user wrote it, or the folder's full path."""
        return self.plan.name

    @cached_property
    def fingerprint(self) -> str:
        """The hub's commit, or 16 digits of the SHA-256 of the config, or of config and weights."""
        if self.plan.source.has_weights:
            return self.plan.fingerprint
        stated = json.dumps(self.plan.config.to_dict(), sort_keys=True, default=str)
        return hashlib.sha256(stated.encode()).hexdigest()[:16]

    @cached_property
    def layers(self) -> list[dict[str, Any]]:
        """What `layers` says of each MoE layer, in order."""
        return [
            {
                "layer": site.layer,
                "moe_index": site.moe_index,
                "stack": site.stack,
                "block": site.block,
                "router_path": site.router_path,
                "scoring": site.scoring,
                "num_experts": site.num_experts,
                "top_k": site.top_k,
                "expert_bytes": planned_bytes(site, self.plan.config),
            }
            for site in self.plan.sites
        ]

    @property
    def why_logits_are_not_enough(self) -> str:
        """Why its router's logits do not tell which experts were chosen, and with what weights."""
        other = {row["scoring"] or "a rule of their own" for row in self.layers} - {"softmax"}
        config = self.plan.config.get_text_config()
        if other:
            return f"its routers score by {' and '.join(sorted(other))}"
        if (getattr(config, "topk_group", None) or 1) < (getattr(config, "n_group", None) or 1):
            return "its routers choose groups of experts first"
        return ""

    @property
    def renormalises(self) -> bool:
        """Whether it divides the weights of the chosen experts by their sum, as Mixtral does."""
        return bool(getattr(self.plan.config.get_text_config(), "norm_topk_prob", True))

    @property
    def num_blocks(self) -> int:
        """Blocks of the model, dense ones included."""
        return block_count(self.plan.skeleton, self.plan.sites)

    @property
    def tokenizer_fingerprint(self) -> str:
        """As for a capture of the model; NO_TOKENIZER where only its config is there."""
        return NO_TOKENIZER if self._tokenizer is None else tokenizer_fingerprint(self._tokenizer)

    @cached_property
    def vocabulary(self) -> list[dict[str, Any]]:
        """A row for each token id; without strings where there is no tokenizer."""
        if self._tokenizer is not None:
            return vocabulary(self._tokenizer)
        size = self.plan.config.get_text_config().vocab_size
        return [{"token_id": each, "token_str": None, "is_special": None} for each in range(size)]

    @cached_property
    def _tokenizer(self) -> Any:
        folder = Path(self.plan.source.location)
        if folder.is_dir() and not any(folder.glob("*token*")):
            return None
        return self.plan.tokenizer


def describe(name: str, revision: str | None, trust_remote_code: bool) -> Description:
    """Return the description of a model: of an alias, a hub id, a folder, or a config.json.

    Raises:
        GatehouseError: there is no such model, or it has no MoE layers.
    """
    path = Path(name)
    if path.is_file():
        if path.name != "config.json":
            raise GatehouseError(
                f"{path} is not called config.json: name the model's config.json, or its folder"
            )
        name = str(path.parent)
    return Description(resolve(name, revision=revision, trust_remote_code=trust_remote_code))
