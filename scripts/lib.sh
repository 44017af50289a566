# shellcheck shell=bash
# Read by the other scripts (`. scripts/lib.sh`): where things are, and what must be installed before anything builds.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        die "This needs root and there is no sudo here. As root, run: $*"
    fi
}

has_libzmq() {
    command -v pkg-config >/dev/null 2>&1 && pkg-config --atleast-version=4.3 libzmq
}

install_libzmq() {
    say "libzmq's development package or pkg-config is missing; installing them."
    if command -v apt-get >/dev/null 2>&1; then
        # A fresh container has no package lists at all: then only the second try can work.
        as_root apt-get install -y libzmq3-dev pkg-config >&2 || {
            as_root apt-get update >&2
            as_root apt-get install -y libzmq3-dev pkg-config >&2
        }
    elif command -v dnf >/dev/null 2>&1; then
        as_root dnf install -y zeromq-devel pkgconf-pkg-config >&2 ||
            die "dnf has no zeromq-devel. On RHEL and its relatives enable EPEL first: dnf install epel-release"
    elif command -v pacman >/dev/null 2>&1; then
        as_root pacman -S --needed --noconfirm zeromq pkgconf >&2
    elif command -v brew >/dev/null 2>&1; then
        brew install zeromq pkg-config >&2
    else
        die "None of apt, dnf, pacman and brew is here. Install libzmq (4.3 or later, with its headers) and pkg-config" \
            "by hand, see that \`pkg-config --modversion libzmq\` answers, and start this again."
    fi
    has_libzmq || die "libzmq was installed, but \`pkg-config --atleast-version=4.3 libzmq\` still fails." \
        "Look at PKG_CONFIG_PATH, and at what \`pkg-config --print-errors --exists libzmq\` says."
}

# Leaves with words, not with a compiler's message, where something is missing that only the user can install.
prepare() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null 2>&1 ||
        die "cargo is not here. Install Rust (https://rustup.rs shows one command), open a new terminal, start this again."
    command -v cc >/dev/null 2>&1 ||
        die "There is no C compiler (cc), which Rust links with. Install gcc or clang (on Debian: build-essential)."
    has_libzmq || install_libzmq
}

# Replaces this process by the release build of the program; builds it when there is none yet.
run_program() {
    if [ ! -x "$target/release/acqbus" ]; then
        prepare
        (cd "$top" && cargo build --release) >&2
    fi
    exec "$target/release/acqbus" "$@"
}
