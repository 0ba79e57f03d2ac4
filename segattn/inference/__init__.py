"""From an image to logits."""
