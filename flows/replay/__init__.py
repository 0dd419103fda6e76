"""The replay of a run: its model runs again on held-out text, with routers that are overruled."""
