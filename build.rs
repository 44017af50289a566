//! Says how to install libzmq where it is missing, before the linker says something less helpful.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    if let Err(cause) = pkg_config::Config::new()
        .atleast_version("4.3")
        .cargo_metadata(false)
        .probe("libzmq")
    {
        println!(
            "cargo::error=acqbus links the system's libzmq (4.3 or later, with CURVE), and pkg-config does not find it. \
             Install it with `apt install libzmq3-dev pkg-config`, `dnf install zeromq-devel pkgconf`, \
             `pacman -S zeromq pkgconf` or `brew install zeromq pkg-config`; `scripts/run` does that for you."
        );
        println!(
            "cargo::warning=pkg-config said: {}",
            cause.to_string().lines().next().unwrap_or_default()
        );
    }
}
