//! The shape of a serde type, found by letting it read itself from nothing.
//!
//! Law: nothing about a type is written down here. Whatever it asks for is noted and answered, until every variant of
//! every enum in it was asked for once. What it asks for in which order is what postcard has on the wire
//! (<https://postcard.jamesmunns.com/wire-format>).

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

/// What stands in one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// One byte.
    Byte,
    /// One byte, 0 or 1.
    Bool,
    /// Groups of seven bits, lowest first.
    Unsigned,
    /// The same, with the sign in the lowest bit.
    Signed,
    /// A length and so many bytes of text.
    Text,
    /// A length and so many bytes.
    Bytes,
    /// A byte, and if it is 1 the value.
    Option(Box<Shape>),
    /// A number and so many values.
    List(Box<Shape>),
    /// Values one after the other.
    Fields(Vec<(String, Shape)>),
    /// The enum of this name, in [`Shapes::enums`].
    Enum(String),
}

/// The variants of an enum in their order: name, and what they carry once that is known.
type Variants = Vec<(String, Option<Shape>)>;

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    enums: BTreeMap<String, Variants>,
    /// Variants that are being read: an enum within itself is answered with its first one.
    open: Vec<(String, usize)>,
}

/// A type, all enums in it, and a value for each time it was read: together they have every variant.
#[derive(Debug)]
pub(crate) struct Shapes<T> {
    pub(crate) shape: Shape,
    pub(crate) enums: BTreeMap<String, Vec<(String, Shape)>>,
    pub(crate) values: Vec<T>,
}

/// Why a type could not read itself.
#[derive(Debug)]
pub(crate) struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl de::Error for Unreadable {
    fn custom<T: fmt::Display>(message: T) -> Unreadable {
        Unreadable(message.to_string())
    }
}

/// Reads `T` until every variant in it has been seen.
///
/// # Errors
/// The type asks for something that is not on our wires (floats, maps).
pub(crate) fn of<T: for<'de> de::Deserialize<'de>>() -> Result<Shapes<T>, Unreadable> {
    let found = RefCell::new(Found::default());
    let mut values = Vec::new();
    loop {
        let mut shape = Shape::Byte;
        values.push(T::deserialize(Reader {
            found: &found,
            shape: &mut shape,
        })?);
        let complete = |variants: &Variants| variants.iter().all(|variant| variant.1.is_some());
        if found.borrow().enums.values().all(complete) {
            let enums = found.into_inner().enums.into_iter();
            let known =
                |(name, shape): (String, Option<Shape>)| (name, shape.unwrap_or(Shape::Byte));
            let enums =
                enums.map(|(name, variants)| (name, variants.into_iter().map(known).collect()));
            return Ok(Shapes {
                shape,
                enums: enums.collect(),
                values,
            });
        }
    }
}

/// Answers one question with something, and notes what was asked.
struct Reader<'a> {
    found: &'a RefCell<Found>,
    shape: &'a mut Shape,
}

macro_rules! answers {
    ($($method:ident, $visit:ident, $value:expr, $shape:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            *self.shape = $shape;
            visitor.$visit($value)
        })*
    };
}

macro_rules! refuses {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unreadable> {
            Err(Unreadable(concat!(stringify!($method), " is not on our wires").to_owned()))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Unreadable;

    answers! {
        deserialize_bool, visit_bool, true, Shape::Bool;
        deserialize_u8, visit_u8, 7, Shape::Byte;
        deserialize_u16, visit_u16, 300, Shape::Unsigned;
        deserialize_u32, visit_u32, 70_000, Shape::Unsigned;
        deserialize_u64, visit_u64, 5_000_000_000, Shape::Unsigned;
        deserialize_i64, visit_i64, -22, Shape::Signed;
        deserialize_str, visit_str, "words", Shape::Text;
        deserialize_string, visit_str, "words", Shape::Text;
        deserialize_bytes, visit_bytes, b"bytes", Shape::Bytes;
        deserialize_byte_buf, visit_bytes, b"bytes", Shape::Bytes;
    }

    refuses! {
        deserialize_any deserialize_i8 deserialize_i16 deserialize_i32 deserialize_f32 deserialize_f64
        deserialize_char deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let mut inner = Shape::Byte;
        let value = visitor.visit_some(Reader {
            found: self.found,
            shape: &mut inner,
        });
        *self.shape = Shape::Option(Box::new(inner));
        value
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        *self.shape = Shape::Fields(Vec::new());
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let mut fields = Vec::new();
        let value = visitor.visit_seq(Fields {
            found: self.found,
            names: &["item"],
            fields: &mut fields,
        });
        let item = fields.pop().map_or(Shape::Byte, |field| field.1);
        *self.shape = Shape::List(Box::new(item));
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        const PLACES: [&str; 32] = [
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
            "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29",
            "30", "31",
        ];
        let names = PLACES.get(..length);
        let names = names.ok_or_else(|| Unreadable(format!("an array of {length}")))?;
        self.fields(names, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.fields(names, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        *self.shape = Shape::Enum(name.to_owned());
        let index = self.found.borrow_mut().open(name, variants);
        let mut carried = Shape::Fields(Vec::new());
        let value = visitor.visit_enum(Variant {
            found: self.found,
            index,
            shape: &mut carried,
        });
        self.found.borrow_mut().close(carried);
        value
    }
}

impl Reader<'_> {
    fn fields<'de, V: Visitor<'de>>(
        self,
        names: &[&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        let mut fields = Vec::new();
        let value = visitor.visit_seq(Fields {
            found: self.found,
            names,
            fields: &mut fields,
        });
        *self.shape = Shape::Fields(fields);
        value
    }
}

impl Found {
    /// The variant to be read next of an enum: one that was not seen yet.
    fn open(&mut self, name: &str, variants: &[&str]) -> usize {
        let known = self.enums.entry(name.to_owned()).or_insert_with(|| {
            let named = variants.iter().map(|variant| ((*variant).to_owned(), None));
            named.collect()
        });
        let unseen = known.iter().position(|variant| variant.1.is_none());
        let index = unseen.unwrap_or(0);
        self.open.push((name.to_owned(), index));
        index
    }

    /// What the variant carries, unless something in it is still to be read.
    fn close(&mut self, carried: Shape) {
        let Some((name, index)) = self.open.pop() else {
            return;
        };
        // An enum within is seen variant by variant, each time this one is read.
        let whole = carried.enums().iter().all(|inner| {
            let variants = self.enums.get(*inner);
            variants.is_some_and(|variants| variants.iter().all(|variant| variant.1.is_some()))
        });
        let variant = self
            .enums
            .get_mut(&name)
            .and_then(|variants| variants.get_mut(index));
        if let Some(variant) = variant.filter(|_| whole) {
            variant.1 = Some(carried);
        }
    }
}

impl Shape {
    /// The enums that it names.
    fn enums(&self) -> Vec<&str> {
        match self {
            Shape::Enum(name) => vec![name],
            Shape::Option(inner) | Shape::List(inner) => inner.enums(),
            Shape::Fields(fields) => fields.iter().flat_map(|field| field.1.enums()).collect(),
            _ => Vec::new(),
        }
    }
}

/// Answers for one field after the other.
struct Fields<'a> {
    found: &'a RefCell<Found>,
    names: &'a [&'static str],
    fields: &'a mut Vec<(String, Shape)>,
}

impl<'de> de::SeqAccess<'de> for Fields<'_> {
    type Error = Unreadable;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unreadable> {
        let Some(name) = self.names.get(self.fields.len()) else {
            return Ok(None);
        };
        let mut shape = Shape::Byte;
        let value = seed.deserialize(Reader {
            found: self.found,
            shape: &mut shape,
        })?;
        self.fields.push(((*name).to_owned(), shape));
        Ok(Some(value))
    }
}

/// Answers for what a variant carries.
struct Variant<'a> {
    found: &'a RefCell<Found>,
    index: usize,
    shape: &'a mut Shape,
}

impl<'de> de::EnumAccess<'de> for Variant<'_> {
    type Error = Unreadable;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self), Unreadable> {
        let index: U32Deserializer<Unreadable> = (self.index as u32).into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, Unreadable> {
        seed.deserialize(Reader {
            found: self.found,
            shape: self.shape,
        })
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        use serde::de::Deserializer;
        let reader = Reader {
            found: self.found,
            shape: self.shape,
        };
        reader.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        let reader = Reader {
            found: self.found,
            shape: self.shape,
        };
        reader.fields(names, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Message;

    #[test]
    fn every_message_is_seen_and_has_the_shape_of_its_bytes() {
        let shapes = of::<Message>().expect("messages are readable");
        assert_eq!(shapes.shape, Shape::Enum("Message".to_owned()));
        for message in &shapes.values {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(message));
            let left = skip(&shapes.shape, &shapes.enums, &bytes).expect("the shape fits");
            assert!(left.is_empty(), "{message:?}");
        }
        let named: std::collections::BTreeSet<u8> = shapes
            .values
            .iter()
            .map(|message| message.encode()[0])
            .collect();
        assert_eq!(named.len(), shapes.enums["Message"].len());
    }

    type Enums = BTreeMap<String, Vec<(String, Shape)>>;

    /// What is behind a value of this shape.
    fn skip<'b>(shape: &Shape, enums: &Enums, bytes: &'b [u8]) -> Option<&'b [u8]> {
        Some(match shape {
            Shape::Byte | Shape::Bool => bytes.get(1..)?,
            Shape::Unsigned | Shape::Signed => number(bytes)?.1,
            Shape::Text | Shape::Bytes => {
                let (length, rest) = number(bytes)?;
                rest.get(length..)?
            }
            Shape::Option(inner) if bytes.first() == Some(&1) => skip(inner, enums, &bytes[1..])?,
            Shape::Option(_) => bytes.get(1..)?,
            Shape::List(item) => {
                let (count, rest) = number(bytes)?;
                (0..count).try_fold(rest, |rest, _| skip(item, enums, rest))?
            }
            Shape::Fields(fields) => fields
                .iter()
                .try_fold(bytes, |rest, field| skip(&field.1, enums, rest))?,
            Shape::Enum(name) => {
                let (index, rest) = number(bytes)?;
                skip(&enums.get(name)?.get(index)?.1, enums, rest)?
            }
        })
    }

    fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let digits = bytes[..length].iter().rev();
        let value = digits.fold(0u128, |value, byte| value << 7 | u128::from(byte & 0x7f));
        Some((value as usize, &bytes[length..]))
    }
}
