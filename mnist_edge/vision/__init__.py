"""Computer vision: from the bytes of a picture file to the pixels of a model's input."""
