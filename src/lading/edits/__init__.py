"""Changes to the user's own files: the smallest that do what is wanted, comments, order and formatting kept. Pure: texts in, texts out."""
