//! The strict reader behind every line-based format (SPEC.md, "Text").
//!
//! It accepts one spelling of each value: decimals without leading zeros, `-` for an absent value, one space between
//! fields, one newline after each line. Decoders also encode again and compare. The reader is strict itself so that
//! errors name the line.

use crate::{Error, Hash};

/// The largest unsigned number in a text format: 2^63 - 1.
pub const U63_MAX: u64 = i64::MAX as u64;

/// The longest name, topic, origin or cluster id, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Reads a text line by line, counting lines for the errors.
pub(crate) struct Lines<'a> {
    object: &'static str,
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// `object` names the decoded object. `text` must be empty or end in a newline.
    pub(crate) fn new(object: &'static str, text: &'a str) -> Result<Self, Error> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(Error::malformed(object, "does not end in a newline"));
        }
        Ok(Self { object, rest: text, number: 0 })
    }

    /// The next line, without its newline.
    pub(crate) fn line(&mut self) -> Result<&'a str, Error> {
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').ok_or_else(|| self.error("the text ends early"))?;
        self.rest = rest;
        Ok(line)
    }

    /// The fields of the next line, which must begin with `name` and a space.
    pub(crate) fn fields(&mut self, name: &'static str) -> Result<Fields<'a>, Error> {
        let line = self.line()?;
        let rest = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| self.error(format!("expected `{name} ...`, found {line:?}")))?;
        Ok(Fields { object: self.object, number: self.number, name, rest: Some(rest) })
    }

    /// The only field of the next line.
    pub(crate) fn field(&mut self, name: &'static str) -> Result<Field<'a>, Error> {
        let mut fields = self.fields(name)?;
        let field = fields.next()?;
        fields.end()?;
        Ok(field)
    }

    /// The next `len` bytes, which must be whole lines.
    pub(crate) fn block(&mut self, len: usize) -> Result<&'a str, Error> {
        self.number += 1;
        let block = self.rest.get(..len).filter(|block| block.ends_with('\n'));
        let block = block.ok_or_else(|| self.error(format!("expected whole lines of {len} bytes together")))?;
        self.rest = &self.rest[len..];
        self.number += block.matches('\n').count() - 1;
        Ok(block)
    }

    /// The unread text.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Requires that nothing follows.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        self.number += 1;
        Err(self.error("unexpected line after the end"))
    }

    /// An error at the current line.
    pub(crate) fn error(&self, problem: impl AsRef<str>) -> Error {
        Error::malformed(self.object, format!("line {}: {}", self.number, problem.as_ref()))
    }
}

/// The space-separated fields of one line.
pub(crate) struct Fields<'a> {
    object: &'static str,
    number: usize,
    name: &'static str,
    rest: Option<&'a str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn next(&mut self) -> Result<Field<'a>, Error> {
        let rest = self.rest.ok_or_else(|| self.error("too few fields"))?;
        let (value, rest) = match rest.split_once(' ') {
            Some((value, rest)) => (value, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        if value.is_empty() {
            return Err(self.error("an empty field"));
        }
        Ok(Field { object: self.object, number: self.number, name: self.name, value })
    }

    /// Whether no field is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    pub(crate) fn end(self) -> Result<(), Error> {
        if self.rest.is_none() { Ok(()) } else { Err(self.error("too many fields")) }
    }

    fn error(&self, problem: &str) -> Error {
        Error::malformed(self.object, format!("line {}: `{}` has {problem}", self.number, self.name))
    }
}

/// One field of a line, not yet interpreted.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    object: &'static str,
    number: usize,
    name: &'static str,
    value: &'a str,
}

impl<'a> Field<'a> {
    pub(crate) fn as_str(&self) -> &'a str {
        self.value
    }

    /// `-` is `None`.
    pub(crate) fn optional(self) -> Option<Self> {
        (self.value != "-").then_some(self)
    }

    pub(crate) fn u63(self) -> Result<u64, Error> {
        parse_u63(self.value).ok_or_else(|| self.error("a decimal from 0 to 2^63-1 without leading zeros"))
    }

    /// A Kafka partition number.
    pub(crate) fn partition(self) -> Result<u32, Error> {
        parse_partition(self.value).ok_or_else(|| self.error("a decimal from 0 to 2^31-1 without leading zeros"))
    }

    pub(crate) fn i64(self) -> Result<i64, Error> {
        parse_i64(self.value).ok_or_else(|| self.error("a 64-bit decimal without leading zeros"))
    }

    pub(crate) fn hash(self) -> Result<Hash, Error> {
        self.value.parse().map_err(|_| self.error("the padded base64 of 32 bytes"))
    }

    /// An origin, key name, topic, topic id or cluster id.
    pub(crate) fn name(self) -> Result<String, Error> {
        if is_name(self.value) {
            Ok(self.value.to_owned())
        } else {
            Err(self.error("1 to 255 printable ASCII characters without space and `+`"))
        }
    }

    /// A value with `FromStr`. Its own error names the problem.
    pub(crate) fn parse<T: std::str::FromStr<Err = Error>>(self) -> Result<T, Error> {
        self.value.parse().map_err(|e: Error| match e {
            Error::Malformed { problem, .. } => {
                Error::malformed(self.object, format!("line {}: `{}`: {problem}", self.number, self.name))
            }
            Error::Unsupported { problem, .. } => {
                Error::unsupported(self.object, format!("line {}: `{}`: {problem}", self.number, self.name))
            }
        })
    }

    pub(crate) fn error(self, wanted: &str) -> Error {
        Error::malformed(
            self.object,
            format!("line {}: `{}` must be {wanted}, found {:?}", self.number, self.name, self.value),
        )
    }
}

/// Whether `s` is a name: an origin, key name, topic, topic id or cluster id of the text formats. It has 1 to 255
/// printable ASCII characters, neither space nor `+` (SPEC.md, "Text").
pub fn is_name(s: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic() && b != b'+')
}

/// Parses a decimal from 0 to 2^63-1 in its only spelling.
pub fn parse_u63(s: &str) -> Option<u64> {
    let canonical = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s == "0" || !s.starts_with('0'));
    if !canonical {
        return None;
    }
    s.parse().ok().filter(|&n| n <= U63_MAX)
}

/// Parses a Kafka partition number, a decimal from 0 to 2^31-1 in its only spelling.
pub fn parse_partition(s: &str) -> Option<u32> {
    parse_u63(s).filter(|&n| n <= i32::MAX as u64).map(|n| n as u32)
}

/// Parses a 64-bit signed decimal in its only spelling.
pub fn parse_i64(s: &str) -> Option<i64> {
    let digits = s.strip_prefix('-').unwrap_or(s);
    let canonical = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
        && s != "-0";
    if canonical { s.parse().ok() } else { None }
}

/// Formats an optional value: `-` for `None`.
pub(crate) fn or_dash<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(parse_u63("0"), Some(0));
        assert_eq!(parse_u63("9223372036854775807"), Some(U63_MAX));
        for bad in ["", "-", "00", "01", "+1", "-1", "1 ", "9223372036854775808", "99999999999999999999", "١"] {
            assert_eq!(parse_u63(bad), None, "{bad:?}");
        }
        assert_eq!(parse_i64("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64("-1"), Some(-1));
        for bad in ["", "-", "-0", "-01", "--1", "+1", "9223372036854775808"] {
            assert_eq!(parse_i64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names_are_printable_ascii_without_plus() {
        assert!(is_name("example.com/audit"));
        assert!(is_name(&"x".repeat(255)));
        for bad in ["", "a b", "a+b", "a\tb", "é", &"x".repeat(256)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let mut lines = Lines::new("thing", "a 1\nb 02\n").expect("ends in a newline");
        assert_eq!(lines.field("a").and_then(Field::u63), Ok(1));
        let error = lines.field("b").and_then(Field::u63).expect_err("leading zero");
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(Lines::new("thing", "a 1").is_err());
    }

    #[test]
    fn errors_name_the_line_after_a_block() {
        let text = "a 1\nfirst\nsecond\nb 2 3\nc\n";
        let mut lines = Lines::new("thing", text).expect("ends in a newline");
        lines.line().expect("there is one");
        let whole = lines.rest();
        for len in [4, "first\nsecond\nb 2 3\nc\n".len() + 1] {
            let mut lines = Lines { rest: whole, ..Lines::new("thing", "").expect("nothing") };
            let error = lines.block(len).expect_err("not whole lines");
            assert!(error.to_string().contains("line 1: expected whole lines"), "{error}");
        }
        assert_eq!(lines.block("first\nsecond\n".len()), Ok("first\nsecond\n"));
        let mut fields = lines.fields("b").expect("a line of that name");
        fields.next().expect("the first of two");
        let error = fields.end().expect_err("the second");
        assert!(error.to_string().contains("line 4: `b` has too many fields"), "{error}");
        let error = lines.end().expect_err("one line is left");
        assert!(error.to_string().contains("line 5: unexpected line"), "{error}");
    }
}
