"""``segattn init``: a config and a class file for a folder of images and masks, made by looking at the files."""
