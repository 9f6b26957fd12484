//! The inside of `$(( ))`.
//!
//! Law: 64-bit signed integers that wrap, as in C; any bytes give a number or an error; nesting
//! is bounded.

/// Deepest nesting of parentheses and signs.
const DEEPEST: u32 = 100;

/// Evaluates `text`; `lookup` gives the value of a variable, empty if it is not set.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn evaluate(text: &[u8], lookup: &dyn Fn(&str) -> Vec<u8>) -> Result<i64, String> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
        lookup,
    };
    let value = reader.binary(0)?;
    reader.skip();
    match reader.text.get(reader.at..) {
        None | Some([]) => Ok(value),
        Some(rest) => {
            let rest = String::from_utf8_lossy(rest.get(..20).unwrap_or(rest)).into_owned();
            Err(format!("arithmetic: unexpected `{}`", rest.escape_debug()))
        }
    }
}

/// Operators of two operands by rising precedence; within a row, longer ones first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    lookup: &'a dyn Fn(&str) -> Vec<u8>,
}

impl Reader<'_> {
    fn skip(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or(&[])
    }

    /// The operator of this level that comes next, unless it is the start of a longer one.
    fn operator(&mut self, level: usize) -> Option<&'static str> {
        self.skip();
        let longest = LEVELS
            .iter()
            .flat_map(|row| row.iter())
            .filter(|operator| self.rest().starts_with(operator.as_bytes()))
            .max_by_key(|operator| operator.len())?;
        LEVELS[level].contains(longest).then_some(*longest)
    }

    fn binary(&mut self, level: usize) -> Result<i64, String> {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(level) {
            self.at += operator.len();
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.skip();
        let Some(&byte) = self.text.get(self.at) else {
            return Err("arithmetic: the expression ends too early".to_owned());
        };
        if matches!(byte, b'-' | b'+' | b'!' | b'~' | b'(') {
            if self.depth >= DEEPEST {
                return Err(format!("arithmetic: nested more than {DEEPEST} deep"));
            }
            self.depth += 1;
            self.at += 1;
            let value = if byte == b'(' {
                self.binary(0)?
            } else {
                self.unary()?
            };
            self.depth -= 1;
            return match byte {
                b'-' => Ok(value.wrapping_neg()),
                b'!' => Ok(i64::from(value == 0)),
                b'~' => Ok(!value),
                b'(' => {
                    self.skip();
                    if self.text.get(self.at) != Some(&b')') {
                        return Err("arithmetic: `)` is missing".to_owned());
                    }
                    self.at += 1;
                    Ok(value)
                }
                _ => Ok(value),
            };
        }
        let rest = self.rest();
        let end = rest
            .iter()
            .position(|&byte| byte != b'_' && !byte.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let word = String::from_utf8_lossy(&rest[..end]).into_owned();
        if word.is_empty() {
            return Err(format!(
                "arithmetic: unexpected `{}`",
                char::from(byte).escape_debug()
            ));
        }
        self.at += end;
        if byte.is_ascii_digit() {
            return number(&word);
        }
        let value = String::from_utf8_lossy(&(self.lookup)(&word))
            .trim()
            .to_owned();
        match value.strip_prefix('-') {
            _ if value.is_empty() => Ok(0),
            Some(positive) => Ok(number(positive)?.wrapping_neg()),
            None => number(&value),
        }
    }
}

fn number(text: &str) -> Result<i64, String> {
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    i64::from_str_radix(digits, base)
        .map_err(|_| format!("arithmetic: `{}` is not a number", text.escape_debug()))
}

fn apply(operator: &str, left: i64, right: i64) -> Result<i64, String> {
    let by_zero = || "arithmetic: division by zero".to_owned();
    // Shifts count modulo 64, as the processor does it.
    let shift = (right & 63) as u32;
    Ok(match operator {
        "||" => i64::from(left != 0 || right != 0),
        "&&" => i64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<<" => left.wrapping_shl(shift),
        ">>" => left.wrapping_shr(shift),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" if right == 0 => return Err(by_zero()),
        "/" => left.wrapping_div(right),
        _ if right == 0 => return Err(by_zero()),
        _ => left.wrapping_rem(right),
    })
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    fn value(text: &str) -> Result<i64, String> {
        evaluate(text.as_bytes(), &|name| {
            if name == "x" {
                b"7".to_vec()
            } else {
                Vec::new()
            }
        })
    }

    #[test]
    fn computes_as_c_does() {
        for (text, expected) in [
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("-x + 1", -6),
            ("x % 4 == 3 && !y", 1),
            ("0x10 + 010", 24),
            ("1 << 3 | 1", 9),
            ("5 > 3", 1),
            ("1 < 2 < 1", 0),
            ("2 - 1 - 1", 0),
            ("9223372036854775807 + 1", i64::MIN),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "",
            "1 +",
            "1 2",
            "1 / 0",
            "1 % 0",
            "(1",
            "08",
            "99999999999999999999",
            "1 = 2",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
        assert!(value(&"(".repeat(100_000)).is_err());
        assert!(value(&"-".repeat(100_000)).is_err());
    }
}
