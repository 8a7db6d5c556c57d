def predict(number: int = 1) -> int:
    return 2 * number
