"""The table of verbs. Imports nothing: ``lading --help`` is printed from here."""

from __future__ import annotations

# name → (module under lading.cli, what it does); aliases point to another name
VERBS = {
    "serve": ("serve", "serve the project's predictions over HTTP"),
    "predict": ("predict", "make one prediction (alias: run)"),
    "train": ("train", "run the training that cog.yaml names, once"),
    "plan": ("plan", "show what was found, used, ignored, and every decision; changes nothing"),
    "lock": ("lock", "resolve the dependencies into pylock.lading.toml"),
    "install": ("install", "build the locked environment in the store"),
    "build": ("build", "make a container image, without a container engine"),
    "push": ("push", "send an image to a registry"),
    "weights": ("weights", "lock, fetch or compare the weights that cog.yaml names"),
    "deploy": ("deploy", "run the project on an engine, as a cluster"),
    "status": ("status", "show how a deployment is"),
    "scale": ("scale", "run more or fewer replicas of a deployment"),
    "rollback": ("rollback", "go back to what was deployed before"),
    "gateway": ("gateway", "pass requests on to several servers, again where one fails"),
    "report": ("image_report", "write a page with what fills an image"),
    "get": ("get", "show the APIs of a running server, their jobs, and how a job is"),
    "logs": ("logs", "show what an API or a job of a running server, or a deployment, printed"),
    "batch": ("batch", "submit, watch or stop a job of a running server"),
    "refresh": ("refresh", "start an API of a running server anew, without a gap"),
    "delete": ("delete", "stop serving an API of a running server, stop a job, or take a deployment away"),
    "exec": ("exec_", "run a command inside the environment"),
    "pin": ("pin", "write the locked versions into the lines that declare ranges"),
    "migrate": ("migrate", "move packages and pip commands of cog.yaml into a requirements file"),
    "diff": ("diff", "tell how two locks differ, and why"),
    "explain": ("explain", "show every decision about one package"),
    "schema": ("schema", "print the OpenAPI schema, read without running the model"),
    "doctor": ("doctor", "check the project and this machine"),
    "init": ("init", "write a starter project"),
    "env": ("env", "list or prune the environments in the store"),
}
ALIASES = {"run": "predict"}


def overview() -> str:
    """The text of ``lading --help``."""
    width = max(len(name) for name in VERBS)
    lines = [
        "usage: lading VERB [PROJECT] [options]",
        "",
        "From a machine-learning project's folder to an explained, locked environment and a running prediction service.",
        "PROJECT is a folder (default: this one), a cog.yaml, a cortex.yaml, or a predictor as file.py:Name.",
        "",
        "verbs:",
        *(f"  {name:{width}}  {text}" for name, (_module, text) in VERBS.items()),
        "",
        "on every verb:",
        "  -C, --directory DIR   work in DIR          -f, --file FILE   the configuration or predictor to use",
        "  --json                data as JSON         -q, -v            less talk, more talk",
        "  --locked, --frozen    never change the lock; use it as it is   --offline   no network",
        "  --python, --accelerator   what to build for   --progress, --no-color   how to show it",
        "",
        "`lading VERB --help` tells the rest. `lading --version` prints the version.",
    ]
    return "\n".join(lines)
