"""What another routing costs a model: routers are overruled while it runs, and its loss measured.

replaying = Replay(model, policy)             # a policy of `policies` or `tables`
for measured in measure(loaded, policies, batches):
    ...                                       # sums of each document, for every policy
"""
