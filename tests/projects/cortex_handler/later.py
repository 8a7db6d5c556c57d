class Handler:
    def __init__(self, config):
        pass

    def handle_async(self, payload, request_id):
        return {"request": request_id, "doubled": payload["x"] * 2}
