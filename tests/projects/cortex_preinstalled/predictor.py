import boto3
import yaml
from fastapi import HTTPException

from helpers import fetch


class PythonPredictor:
    def __init__(self, config):
        self.s3 = boto3.client("s3")

    def predict(self, payload):
        if "x" not in payload:
            raise HTTPException(422, "x is missing")
        return yaml.safe_load(fetch(payload["x"]))
