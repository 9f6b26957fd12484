//! Hands the linker script to the linker; only the kernel's own target needs it.

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo::rustc-link-arg=-T{folder}/link.ld");
        println!("cargo::rustc-link-arg=--no-pie");
        println!("cargo::rustc-link-arg=--build-id=none");
    }
}
