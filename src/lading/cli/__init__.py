"""The command line: one file per verb. Parses, calls the pipeline, prints; decides nothing itself."""
