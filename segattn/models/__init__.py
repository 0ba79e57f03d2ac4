"""Segmentation models: encoder, attention and head."""
