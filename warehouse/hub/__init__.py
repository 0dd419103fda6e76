"""The Hugging Face hub as models and data sets meet it: why it gave nothing."""
