"""Loading Mixture-of-Experts models and tapping what their routers decide."""

import os

# the hub's client reads this when it is imported: nobody asked for usage counts to be sent
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# so does transformers: the hub's kernels are downloaded code, and replace hooked modules
os.environ["USE_HUB_KERNELS"] = "0"
