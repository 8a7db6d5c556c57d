class PythonPredictor:
    def __init__(self, config, job_spec):
        self.job = job_spec["job_id"]

    def predict(self, payload, batch_id):
        print(self.job, batch_id, [2 * x for x in payload])

    def on_job_complete(self):
        print(self.job, "is complete")
