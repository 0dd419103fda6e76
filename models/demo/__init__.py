"""The bundled Mixture-of-Experts model: weights, tokenizer, training script and card."""
