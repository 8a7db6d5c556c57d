import requests


def fetch(address):
    return requests.get(address, timeout=10).text
