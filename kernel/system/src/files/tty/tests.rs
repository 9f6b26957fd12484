//! The line discipline against two simple models: an editor that knows only characters, and a screen
//! that does what it is told.
//!
//! Law: whatever is typed, readers get the lines that the editor has, and the last line of the screen
//! shows the line being typed. Literal traces are with the calls, in `files/tests`.

use super::line::Line;
use super::modes::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, HangsUp, ICANON, IEXTEN, ISIG, IUTF8, Modes,
};
use std::collections::VecDeque;

/// A generator of random numbers (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Lines as somebody edits them who sees characters.
#[derive(Default)]
struct Editor {
    typed: Vec<String>,
    done: VecDeque<String>,
    literal: bool,
}

impl Editor {
    fn is_letter(character: &str) -> bool {
        let first = character.chars().next().unwrap_or(' ');
        // What is above ASCII begins with a byte of 0xc0 and more: the discipline knows no better.
        first.is_ascii_alphanumeric() || first == '_' || !first.is_ascii()
    }

    fn key(&mut self, key: &str) {
        if std::mem::take(&mut self.literal) {
            self.typed.push(key.to_owned());
            return;
        }
        match key {
            "\x7f" => drop(self.typed.pop()),
            "\x15" => self.typed.clear(),
            "\x17" => {
                while self
                    .typed
                    .last()
                    .is_some_and(|last| !Editor::is_letter(last))
                {
                    self.typed.pop();
                }
                while self
                    .typed
                    .last()
                    .is_some_and(|last| Editor::is_letter(last))
                {
                    self.typed.pop();
                }
            }
            "\x16" => self.literal = true,
            "\n" | "\r" => {
                self.typed.push("\n".to_owned());
                self.done.push_back(self.typed.drain(..).collect());
            }
            "\x04" => self.done.push_back(self.typed.drain(..).collect()),
            "\x12" => {}
            key => self.typed.push(key.to_owned()),
        }
    }

    /// How the line being typed looks when it begins in this column.
    fn look(&self, from: usize) -> String {
        let mut shown = String::new();
        for key in &self.typed {
            match key.as_bytes()[0] {
                b'\t' => {
                    let blanks = 8 - (from + shown.chars().count()) % 8;
                    shown.push_str(&" ".repeat(blanks));
                }
                byte @ (0..0x20 | 0x7f) => {
                    shown.push('^');
                    shown.push(char::from(byte ^ 0x40));
                }
                _ => shown.push_str(key),
            }
        }
        shown
    }
}

/// The last line of a screen without a right edge.
#[derive(Default)]
struct Screen {
    cells: Vec<char>,
    column: usize,
}

impl Screen {
    fn show(&mut self, bytes: &[u8]) {
        for character in String::from_utf8_lossy(bytes).chars() {
            match character {
                '\n' => self.cells.clear(),
                '\r' => self.column = 0,
                '\x08' => self.column -= 1,
                '\t' => self.column += 8 - self.column % 8,
                character => {
                    if self.cells.len() <= self.column {
                        self.cells.resize(self.column + 1, ' ');
                    }
                    self.cells[self.column] = character;
                    self.column += 1;
                }
            }
        }
    }
}

fn modes() -> Modes {
    let mut modes = Modes::new(HangsUp::Never);
    modes.termios.input |= IUTF8;
    modes.termios.local = ICANON | ECHO | ECHOE | ECHOK | ECHOKE | ECHOCTL | IEXTEN;
    modes
}

/// Keys, those that edit more often than others.
const KEYS: [&str; 28] = [
    "\x7f", "\x7f", "\x7f", "\x15", "\x17", "\x17", "\x16", "\n", "\r", "\x04", "\x12", "\x01",
    "\x02", "\t", "\t", " ", " ", ".", "a", "b", "Z", "0", "_", "ä", "€", "😀", "\x1b", "~",
];

#[test]
fn what_is_typed_is_what_is_read_and_what_is_seen() {
    for seed in 1..400 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut line = Line::new(modes());
        let (mut editor, mut screen) = (Editor::default(), Screen::default());
        // Something that a program has left in the last line.
        let prompt = &b"prompt> "[..dice.below(9) as usize];
        let mut shown = Vec::new();
        for &byte in prompt {
            let modes = *line.modes();
            line.printer.put(&modes, byte, &mut shown);
        }
        screen.show(&shown);
        let (mut trace, mut from) = (String::new(), prompt.len());
        for _ in 0..60 {
            let key = match KEYS[dice.below(KEYS.len() as u64) as usize] {
                // It leaves the `^` of the key before it on the screen, as everywhere.
                "\t" if editor.literal => "x",
                key => key,
            };
            trace.push_str(key);
            let (fresh, column, literal) = (editor.typed.is_empty(), screen.column, editor.literal);
            let mut echo = Vec::new();
            for &byte in key.as_bytes() {
                assert!(line.has_room());
                echo.extend(line.receive(byte).echo);
            }
            screen.show(&echo);
            editor.key(key);
            if matches!(key, "\n" | "\r" | "\x12") && !literal {
                from = 0;
            } else if key == "\x04" && !literal {
                from = screen.column;
            } else if fresh && !editor.typed.is_empty() {
                from = if literal { column } else { from };
            }
            while let Some(expected) = editor.done.pop_front() {
                let mut got = Vec::new();
                loop {
                    let count = 1 + dice.below(7) as usize;
                    let piece = line.take(count);
                    let full = piece.len() == count;
                    got.extend(piece);
                    if !full || got.len() == expected.len() {
                        break;
                    }
                }
                assert_eq!(got, expected.as_bytes(), "seed {seed}: {trace:?}");
            }
            assert!(!line.has_input(), "seed {seed}: {trace:?}");
            if editor.literal {
                continue;
            }
            let row: String = screen.cells.iter().skip(from).collect();
            let look = editor.look(from);
            assert_eq!(
                row.trim_end(),
                look.trim_end(),
                "seed {seed}: {trace:?} from column {from}"
            );
        }
    }
}

#[test]
fn raw_input_is_given_as_it_is() {
    for seed in 1..50 {
        let mut dice = Dice(seed * 77_777);
        let mut modes = modes();
        (modes.termios.input, modes.termios.local) = (0, 0);
        let mut line = Line::new(modes);
        let (mut typed, mut got) = (VecDeque::new(), 0);
        for _ in 0..2000 {
            if dice.below(3) > 0 && line.has_room() {
                let byte = dice.below(256) as u8;
                typed.push_back(byte);
                assert_eq!(line.receive(byte), super::line::Effects::default());
            } else {
                let piece = line.take(dice.below(20) as usize);
                got += piece.len();
                let expected: Vec<u8> = typed.drain(..piece.len()).collect();
                assert_eq!(piece, expected);
            }
            assert_eq!(line.available(), typed.len());
        }
        assert!(got > 100);
    }
}

/// Whatever the modes and the bytes, nothing grows without bound and nothing fails.
#[test]
fn any_modes_and_any_bytes() {
    for seed in 1..300 {
        let mut dice = Dice(seed * 1_234_567);
        let mut line = Line::new(modes());
        for _ in 0..50 {
            let mut modes = *line.modes();
            modes.termios.input = dice.below(1 << 16) as u32;
            modes.termios.output = dice.below(1 << 14) as u32;
            modes.termios.local = dice.below(1 << 17) as u32 | ISIG;
            for character in &mut modes.termios.characters {
                *character = dice.below(40) as u8;
            }
            line.set_modes(modes);
            for _ in 0..dice.below(300) {
                if line.has_room() {
                    line.receive(dice.below(256) as u8);
                }
            }
            assert!(line.available() <= 4096);
            let count = dice.below(500) as usize;
            assert!(line.take(count).len() <= count);
        }
    }
}
