"""The runs of a lake: where their files lie, what of them has landed, and who may write them."""
