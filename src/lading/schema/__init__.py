"""What a predictor takes and gives: read from its source without importing it, told as OpenAPI, checked against arguments."""
