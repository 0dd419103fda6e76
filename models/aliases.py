"""Short names of models."""

from pathlib import Path

ALIASES = {
    "demo": str(Path(__file__).parent / "demo"),
    "mixtral": "mistralai/Mixtral-8x7B-v0.1",
    "mixtral-8x22b": "mistralai/Mixtral-8x22B-v0.1",
    "olmoe": "allenai/OLMoE-1B-7B-0924",
    "qwen1.5-moe": "Qwen/Qwen1.5-MoE-A2.7B",
    "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B",
    "deepseek-v2-lite": "deepseek-ai/DeepSeek-V2-Lite",
    "deepseek-v3": "deepseek-ai/DeepSeek-V3",
    "gpt-oss-20b": "openai/gpt-oss-20b",
    "gpt-oss-120b": "openai/gpt-oss-120b",
    "switch-base-8": "google/switch-base-8",
    "phi-3.5-moe": "microsoft/Phi-3.5-MoE-instruct",
    "granite-3-moe": "ibm-granite/granite-3.1-3b-a800m-base",
    "dbrx": "transformers-community/dbrx-instruct",
    "jamba-mini": "ai21labs/AI21-Jamba-Mini-1.6",
    "llama4-scout": "meta-llama/Llama-4-Scout-17B-16E",
    "glm-4.5-air": "zai-org/GLM-4.5-Air",
    "ernie-4.5-21b-a3b": "baidu/ERNIE-4.5-21B-A3B-PT",
    "lfm2-8b-a1b": "LiquidAI/LFM2-8B-A1B",
}
"""Short name -> the bundled folder, or an id on the hub."""
