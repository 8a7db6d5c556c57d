class Task:
    def __call__(self, config):
        print("training for", config["epochs"], "epochs")
