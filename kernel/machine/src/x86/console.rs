//! COM1: output by polling, input by interrupt.
//!
//! Law: output never waits for ever and needs neither heap nor interrupts. A machine without the
//! port runs on without a console. Source: National Semiconductor 16550D data sheet.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;
use x86_64::instructions::port::Port;

use super::acpi::Tables;
use super::{apic, time};

const COM1: u16 = 0x3f8;
const DATA: u16 = COM1;
const INTERRUPT_ENABLE: u16 = COM1 + 1;
const FIFO_CONTROL: u16 = COM1 + 2;
const LINE_CONTROL: u16 = COM1 + 3;
const MODEM_CONTROL: u16 = COM1 + 4;
const LINE_STATUS: u16 = COM1 + 5;
const SCRATCH: u16 = COM1 + 7;
/// Line status: a byte was received; the transmitter's FIFO is empty.
const RECEIVED: u8 = 1;
const TRANSMIT_EMPTY: u8 = 1 << 5;
/// Bytes the transmitter takes once it is empty.
const FIFO: usize = 16;
/// Tries before a stuck transmitter is given up for this chunk.
const PATIENCE: u32 = 1_000_000;
/// Received bytes kept for the reader; more are lost.
const INPUT: usize = 4096;

static PRESENT: AtomicBool = AtomicBool::new(false);

struct Input {
    bytes: [u8; INPUT],
    start: usize,
    length: usize,
}

static RECEIVED_BYTES: Mutex<Input> = Mutex::new(Input {
    bytes: [0; INPUT],
    start: 0,
    length: 0,
});

fn read(port: u16) -> u8 {
    // SAFETY: a register of COM1; nothing behind it reaches memory.
    unsafe { Port::<u8>::new(port).read() }
}

fn write(port: u16, value: u8) {
    // SAFETY: as in `read`.
    unsafe { Port::<u8>::new(port).write(value) }
}

/// Sets 115 200 baud, 8N1, with FIFOs.
pub(crate) fn init() {
    write(SCRATCH, 0x5a);
    if read(SCRATCH) != 0x5a {
        return;
    }
    write(INTERRUPT_ENABLE, 0);
    write(LINE_CONTROL, 0x80);
    write(DATA, 1);
    write(INTERRUPT_ENABLE, 0);
    write(LINE_CONTROL, 3);
    write(FIFO_CONTROL, 0x07);
    write(MODEM_CONTROL, 0x0b);
    PRESENT.store(true, Ordering::Relaxed);
}

/// Lets received bytes interrupt.
pub(crate) fn enable_input(_routed_by: &Tables) {
    if PRESENT.load(Ordering::Relaxed) && apic::serial_is_routed() {
        write(INTERRUPT_ENABLE, 1);
        receive();
    }
}

/// Takes every received byte out of the port.
pub(crate) fn receive() {
    let mut input = RECEIVED_BYTES.lock();
    // The port may lie: at most as many as fit.
    for _ in 0..INPUT {
        if read(LINE_STATUS) & RECEIVED == 0 {
            return;
        }
        let byte = read(DATA);
        if input.length < INPUT {
            let end = (input.start + input.length) % INPUT;
            input.bytes[end] = byte;
            input.length += 1;
        }
    }
}

/// The next byte typed, if any.
pub fn console_read() -> Option<u8> {
    if PRESENT.load(Ordering::Relaxed) && !apic::serial_is_routed() {
        receive();
    }
    let mut input = RECEIVED_BYTES.lock();
    input.length = input.length.checked_sub(1)?;
    let byte = input.bytes[input.start];
    input.start = (input.start + 1) % INPUT;
    Some(byte)
}

/// Whose turn it is to write; a panic does not ask.
static WRITER: Mutex<()> = Mutex::new(());

/// Writes bytes to the console as they are, waiting for the port. What one call writes stays in one
/// piece.
pub fn console_write(bytes: &[u8]) {
    let _one_at_a_time = WRITER.lock();
    write_out(bytes);
}

fn write_out(bytes: &[u8]) {
    if !PRESENT.load(Ordering::Relaxed) {
        return;
    }
    for chunk in bytes.chunks(FIFO) {
        let mut patience = PATIENCE;
        while read(LINE_STATUS) & TRANSMIT_EMPTY == 0 && patience > 0 {
            patience -= 1;
            core::hint::spin_loop();
        }
        for &byte in chunk {
            write(DATA, byte);
        }
    }
}

/// Collects a line, so that the port is filled in whole chunks.
struct Line {
    bytes: [u8; 128],
    length: usize,
}

impl Line {
    fn flush(&mut self) {
        write_out(&self.bytes[..self.length]);
        self.length = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Writes formatted text, whoever else is writing.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 128],
        length: 0,
    };
    // A `Display` that fails loses its own text only.
    let _ = line.write_fmt(text);
    line.flush();
}

/// What [`crate::log!`] calls.
pub fn log_line(text: fmt::Arguments<'_>) {
    let micros = time::now_ns() / 1000;
    let _one_at_a_time = WRITER.lock();
    print(format_args!(
        "[{:4}.{:06}] {text}\r\n",
        micros / 1_000_000,
        micros % 1_000_000
    ));
}
