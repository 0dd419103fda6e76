"""Loading Mixture-of-Experts models and tapping what their routers decide."""
