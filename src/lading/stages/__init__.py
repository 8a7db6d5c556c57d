"""What the pipeline's stages do, one module each; `lading.pipeline` is their table of contents."""
