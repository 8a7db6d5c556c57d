"""Which distributions bring a module: for names that are well known, where the two differ as well as where they do not."""

from __future__ import annotations

from lading.model.names import canonical

_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "Crypto": ("pycryptodome", "pycrypto"),
    "IPython": ("ipython",),
    "Levenshtein": ("levenshtein", "python-levenshtein"),
    "PIL": ("pillow", "pillow-simd"),
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv", "py-opencv", "libopencv"),
    "dateutil": ("python-dateutil",),
    "docx": ("python-docx",),
    "dotenv": ("python-dotenv",),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss"),
    "ffmpeg": ("ffmpeg-python",),
    "fitz": ("pymupdf",),
    "git": ("gitpython",),
    "hydra": ("hydra-core",),
    "jwt": ("pyjwt",),
    "keras": ("keras", "tensorflow"),
    "magic": ("python-magic",),
    "pptx": ("python-pptx",),
    "psycopg2": ("psycopg2",),
    "pytorch_lightning": ("pytorch-lightning", "lightning"),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "slugify": ("python-slugify", "unicode-slugify"),
    "tensorflow": ("tensorflow", "tf-nightly", "intel-tensorflow"),
    "torch": ("torch", "pytorch"),
    "whisper": ("openai-whisper", "whisper"),
    "yaml": ("pyyaml",),
    "zmq": ("pyzmq",),
}
_SAME = frozenset((
    "accelerate", "aiohttp", "albumentations", "bitsandbytes", "boto3", "botocore", "catboost", "datasets", "diffusers", "easyocr",
    "einops", "fastapi", "flask", "flax", "ftfy", "gensim", "gradio", "h5py", "httpx", "huggingface_hub", "imageio", "insightface",
    "jax", "jieba", "jinja2", "joblib", "kornia", "langchain", "librosa", "lightgbm", "lightning", "lxml", "matplotlib", "mediapipe",
    "mlflow", "moviepy", "networkx", "nltk", "numba", "numpy", "omegaconf", "onnx", "onnxruntime", "openai", "optax", "pandas", "peft",
    "polars", "pyarrow", "pydantic", "pydub", "pymongo", "pytesseract", "redis", "regex", "requests", "safetensors", "scipy", "seaborn",
    "sentence_transformers", "sentencepiece", "shap", "soundfile", "spacy", "sqlalchemy", "starlette", "statsmodels", "sympy",
    "tensorboard", "tiktoken", "timm", "tokenizers", "torchaudio", "torchmetrics", "torchvision", "tqdm", "transformers", "trl",
    "ultralytics", "wandb", "xformers", "xgboost",
))  # fmt: skip


def distributions_of(module: str) -> tuple[str, ...]:
    """The distributions that bring a module, the usual one first; empty for a module that is not known.

    Others whose names begin with one of these and a hyphen are taken for builds of it (``onnxruntime-gpu``, ``opencv-python-headless``).
    """
    top = module.partition(".")[0]
    return _ELSEWHERE.get(top) or ((canonical(top),) if top in _SAME else ())


def is_brought(module: str, distributions: frozenset[str]) -> bool:
    """Whether one of these distributions brings a module; a module that is not known may come from any."""
    known = distributions_of(module)
    return not known or any(name == one or name.startswith(f"{one}-") for one in known for name in distributions)


def distribution_named_so(name: str) -> str | None:
    """The distribution that somebody means who writes a module's name in its place (``cv2``, ``sklearn``); None where they are alike."""
    known = {canonical(module): names for module, names in _ELSEWHERE.items()}.get(canonical(name), (canonical(name),))
    return None if canonical(name) in known else known[0]
