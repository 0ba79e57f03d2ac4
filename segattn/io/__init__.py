"""Files: reading images and YAML, writing atomically, overlays, and the text of errors."""
