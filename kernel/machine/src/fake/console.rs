//! The console as two queues.

use std::fmt::Write;

use super::MACHINE;

/// Writes bytes to the console of this thread's machine.
pub fn console_write(bytes: &[u8]) {
    MACHINE.with(|machine| machine.output.borrow_mut().extend_from_slice(bytes));
}

/// The next byte typed, if any.
pub fn console_read() -> Option<u8> {
    MACHINE.with(|machine| machine.input.borrow_mut().pop_front())
}

/// Everything written to the console since the last call.
pub fn take_console() -> Vec<u8> {
    MACHINE.with(|machine| std::mem::take(&mut *machine.output.borrow_mut()))
}

/// Types bytes at the console.
pub fn type_console(bytes: &[u8]) {
    MACHINE.with(|machine| machine.input.borrow_mut().extend(bytes));
}

/// What [`crate::log!`] calls.
pub fn log_line(text: std::fmt::Arguments<'_>) {
    let micros = super::now_ns() / 1000;
    let mut line = String::new();
    writeln!(
        line,
        "[{:4}.{:06}] {text}",
        micros / 1_000_000,
        micros % 1_000_000
    )
    .expect("writing to a String cannot fail");
    console_write(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_carry_the_time() {
        super::super::set_now_ns(1_234_567_890);
        crate::log!("hello {}", 7);
        assert_eq!(take_console(), b"[   1.234567] hello 7\n");
    }

    #[test]
    fn input_comes_in_order() {
        type_console(b"ab");
        assert_eq!(
            [console_read(), console_read(), console_read()],
            [Some(b'a'), Some(b'b'), None]
        );
    }
}
