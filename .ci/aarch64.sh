#!/usr/bin/env bash
# Runs the kernels' tests on AArch64: natively on such a machine, under emulation elsewhere.
#
# The standard library for AArch64 comes from rustup where that can add the target, else from Debian's Rust packages, which are
# unpacked into .cache/aarch64 (some 500 MB) and nowhere else; delete that folder to fetch them anew. The linker and the emulator
# are ordinary packages: they are installed if missing, which takes root or sudo. Where neither way works, prints SKIPPED and why;
# that is a failure if CI=true or LOQUAT_REQUIRE_AARCH64=1.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
cache=$PWD/.cache/aarch64

# Emulation is some twenty times slower: the sweeps of the approximations take fewer points.
export LOQUAT_SWEEP_STRIDE=${LOQUAT_SWEEP_STRIDE:-200003}

skip() {
  echo "SKIPPED kernel tests on AArch64: $*" >&2
  if [ "${CI:-}" = true ] || [ "${LOQUAT_REQUIRE_AARCH64:-}" = 1 ]; then
    exit 1
  fi
  exit 0
}

if [ "$(uname -m)" = aarch64 ]; then
  echo "this machine is AArch64: the tests of the workspace have run natively"
  exit 0
fi
[ "$(uname -s)" = Linux ] || skip "emulation of single programs needs Linux"

# Runs a command as root, if that is possible.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -n "$@"
  else
    echo "neither root nor sudo to run: $*" >&2
    return 1
  fi
}

install_packages() {
  command -v apt-get >/dev/null || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    { as_root apt-get update -qq &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

# Linker and emulator.
emulator() { command -v qemu-aarch64-static || command -v qemu-aarch64; }
if ! command -v aarch64-linux-gnu-gcc >/dev/null; then
  install_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross ||
    skip "no linker: install aarch64-linux-gnu-gcc with the C library's files for it (on Debian gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
fi
if ! emulator >/dev/null; then
  install_packages qemu-user-static || skip "no emulator: install qemu-aarch64 (on Debian qemu-user-static)"
fi

# Debian's compiler and its AArch64 standard library, unpacked under $cache. apt gets lists of its own there, for both
# architectures, from the sources that it is configured with; what the machine has installed isn't touched.
unpack_debian_rust() {
  if [ -e "$cache/version" ]; then return 0; fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "no apt-get and dpkg-deb to get Debian's" >&2
    return 1
  fi
  local state=$cache/apt
  rm -rf "$cache"
  mkdir -p "$state"/{lists/partial,archives/partial,packages} || return 1
  cat >"$state/apt.conf" <<CONF
APT::Architectures { "$(dpkg --print-architecture)"; "arm64"; };
APT::Sandbox::User "root";
Dir::State::lists "$state/lists";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
CONF
  # A source that lacks one of the architectures fails the update and does no harm, so its status says nothing.
  APT_CONFIG=$state/apt.conf apt-get update -qq >/dev/null 2>&1 || true

  # Stable releases package a newer compiler for browsers, under the second name.
  local compiler version="" least
  least=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
  for compiler in rustc rustc-web; do
    version=$(APT_CONFIG=$state/apt.conf apt-cache policy "$compiler" | sed -n 's/^ *Candidate: *//p')
    if [ "$(printf '%s\n' "$least" "${version%%+*}" | sort -V | head -n 1)" = "$least" ]; then break; fi
    version=""
  done
  if [ -z "$version" ]; then
    echo "apt's sources have no rustc of $least or later" >&2
    return 1
  fi

  # The development package is named for the compiler, the library it depends on carries the compiler's version in its name.
  local library=libstd-${compiler/rustc/rust}-dev runtime
  runtime=$(APT_CONFIG=$state/apt.conf apt-cache show "$library=$version" | grep -oE 'libstd-rust(-web)?-[0-9.]+' | head -n 1)
  echo "unpacking Debian's $compiler $version into .cache/aarch64"
  (cd "$state/packages" && APT_CONFIG=$state/apt.conf apt-get download -qq \
    "$compiler=$version" "$runtime=$version" "$library=$version" "$library:arm64=$version") || return 1
  local package
  for package in "$state"/packages/*.deb; do dpkg-deb -x "$package" "$cache" || return 1; done

  # LLVM is a shared library with more of them behind it: an ordinary package.
  local llvm
  llvm=$(dpkg-deb -f "$state/packages/$runtime"_*.deb Depends | grep -oE 'libllvm[0-9.]+' | head -n 1)
  if [ -n "$llvm" ] && ! dpkg-query -W "$llvm" >/dev/null 2>&1; then
    install_packages "$llvm" || return 1
  fi
  # rustc takes the folder above its driver's for its own.
  (cd "$cache/usr/lib" && ln -sf ./*/librustc_driver-*.so .) || return 1
  LD_LIBRARY_PATH=$cache/usr/lib "$cache/usr/bin/rustc" --version >"$state/version" || return 1
  mv "$state/version" "$cache/version"
  rm -rf "$state"
}

# No answer from the network must not hold up the fallback for long.
if rustup target list --installed 2>/dev/null | grep -qx "$target" ||
  timeout 120 rustup target add "$target" >/dev/null 2>&1; then
  echo "AArch64 standard library: rustup's"
elif unpack_debian_rust; then
  echo "AArch64 standard library: Debian's, with $(cat "$cache/version")"
  # The compiler looks for its driver in the system's folders only.
  export RUSTC=$cache/usr/bin/rustc RUSTDOC=$cache/usr/bin/rustdoc LD_LIBRARY_PATH=$cache/usr/lib
else
  skip "rustup can't add $target, and Debian's packages don't serve either (see above)"
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$(emulator) -cpu max -L /usr/aarch64-linux-gnu"
# A target folder of its own: the compiler may be another one.
cargo test -p loquat-kernels --target "$target" --target-dir "$cache-target"
