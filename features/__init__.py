"""Features: declared once, computed by one function in training, streaming and serving."""
