"""Lock files: written, read, compared with a plan and with each other. Pure: texts and values, no files."""
