//! The kernel binary: wiring only.
//!
//! Law: nothing is decided here. `machine` starts the processor and calls [`main`]; what the
//! command line asks for is run.
//!
//! Building an image takes two steps (`cargo xtask` does both):
//!
//! 1. `cargo build --release -p image --target x86_64-unknown-none`. The flags are in
//!    `.cargo/config.toml`; where RUSTFLAGS is set it replaces them and must contain them all.
//! 2. Names for backtraces: `machine::symbols::embed(&mut bytes)` on the host, given the bytes of the
//!    built ELF file (section `.symbols` has the room), written to the file that QEMU boots. The
//!    image boots without this step too. `cargo run -p machine --example embed_symbols IN OUT`
//!    is the same for hand use.
//!
//! Words of the command line: `selftest` proves the machine and powers off with status 0 (QEMU: 1)
//! if everything held; `node=N` is the number of this node, `script=PATH` is for init;
//! `disktest` has the self-test write to a disk, `disksealed` to one that cannot be written; `orphan_grace=SECONDS` is how long guests wait for their home;
//! `keep_pages=no`: nothing is kept of processes that leave; `pack=never` or `pack=always`: pushed pages never travel compressed, or whatever it costs.
//! The keys of the node are not there but in QEMU's fw_cfg, as `opt/dunlin/key`.
#![no_std]
#![no_main]

extern crate alloc;

mod disk;
mod node;
mod selftest;

machine::entry!(main);

/// The kernel's first safe function.
fn main(info: machine::BootInfo) -> ! {
    machine::log!(
        "dunlin: {} MiB, archive of {} bytes, command line \"{}\"",
        info.memory_bytes >> 20,
        info.archive.len(),
        info.command_line
    );
    if let Err(broken) = machine::self_test() {
        panic!("this machine does not protect itself: {broken}");
    }
    for word in info.command_line.split_ascii_whitespace() {
        match word {
            "selftest" => selftest::run(&info),
            "panic" => selftest::panic(),
            "overflow" => machine::log!("impossible depth {}", selftest::overflow(1)),
            _ => {}
        }
    }
    node::run(&info)
}
