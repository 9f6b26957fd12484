//! `cargo xtask dissector`: the dissector for Wireshark, whose tables are made from `net/wire`.
//!
//! Law: no layout is written down by hand. Offsets are those of the compiled header, messages are the shapes that the
//! types themselves ask for; `tools/wireshark/dunlin.lua` is what comes of that, and a check says when it is not any more.

use crate::error::{Error, Outcome};
use crate::places;
use crate::shapes::{self, Shape};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem::offset_of;
use std::path::Path;
use wire::{
    ETHERNET_LEN, ETHERTYPE, Gossip, HEADER_LEN, Header, Kind, LENGTH_BITS, Lane, Message,
    NodeInfo, PAYLOAD_MAX, PIECE_LEN, PayloadKind,
};

const FILE: &str = "tools/wireshark/dunlin.lua";
const TEXT: &str = include_str!("dissector.lua");
/// Where the tables go.
const PLACE: &str = "--@TABLES@";

/// A field of the header: name, offset, bytes of one, how many.
type Field = (&'static str, usize, usize, usize);

macro_rules! fields {
    ($($name:ident: $count:literal),* $(,)?) => {
        vec![$({
            fn size<T>(_: fn(&Header) -> &T) -> usize {
                size_of::<T>()
            }
            let whole = size(|header: &Header| &header.$name);
            (stringify!($name), offset_of!(Header, $name), whole / $count, $count)
        }),*]
    };
}

/// The fields in their order; a test says when one is missing.
fn header() -> Vec<Field> {
    fields![
        target_mac: 1, source_mac: 1, ethertype: 1, version: 1, kind: 1, cluster: 1, source: 1, target: 1,
        source_boot: 1, target_boot: 1, lane: 1, payload_kind: 1, length: 1, seq: 1, ack: 2, sack: 2,
        sent_ns: 1, echo_ns: 1, held_ns: 1, pid: 1, epoch: 1, page: 1, share: 1, behind: 1, sack_from: 1,
        counter: 1, tag: 1,
    ]
}

/// Writes the dissector.
pub(crate) fn write(root: &Path) -> Outcome {
    let path = root.join(FILE);
    let text = text().map_err(Error::Unmet)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    std::fs::write(&path, text).map_err(Error::file("write", &path))?;
    println!("{}", places::shown(&path));
    Ok(0)
}

/// Whether the dissector is that of the types.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let written = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    if written == text()? {
        Ok(())
    } else {
        Err(format!(
            "{FILE} is not true any more: run `cargo xtask dissector`"
        ))
    }
}

/// The whole dissector.
fn text() -> Result<String, String> {
    Ok(TEXT.replace(PLACE, &tables()?))
}

fn tables() -> Result<String, String> {
    let mut lua = format!(
        "-- From here to the next line of this kind: made from net/wire.\n\
         local HEADER, ETHERNET, ETHERTYPE = {HEADER_LEN}, {ETHERNET_LEN}, {ETHERTYPE:#06x}\n\
         local PAYLOAD, PIECE, LENGTH_BITS = {PAYLOAD_MAX}, {PIECE_LEN}, {LENGTH_BITS}\n\
         -- Name, offset, bytes of one, how many.\nlocal header = {{\n"
    );
    for (name, offset, size, count) in header() {
        let _ = writeln!(lua, "    {{ \"{name}\", {offset}, {size}, {count} }},");
    }
    lua += "}\n";
    let names = |name: &str, of: &dyn Fn(u8) -> Option<String>| {
        let all =
            (0..=u8::MAX).filter_map(|number| Some(format!("[{number}] = \"{}\"", of(number)?)));
        format!(
            "local {name} = {{ {} }}\n",
            all.collect::<Vec<_>>().join(", ")
        )
    };
    lua += &names("kinds", &|n| {
        Kind::from_u8(n).map(|kind| format!("{kind:?}"))
    });
    lua += &names("payload_kinds", &|n| {
        PayloadKind::from_u8(n).map(|kind| format!("{kind:?}"))
    });
    lua += &names("lanes", &|n| {
        let mut lanes = Lane::ALL.into_iter();
        lanes
            .find(|lane| *lane as u8 == n)
            .map(|lane| format!("{lane:?}"))
    });
    let messages = shapes::of::<Message>().map_err(|error| error.to_string())?;
    lua +=
        "-- By name: the variants in their order, each with what it carries.\nlocal enums = {}\n";
    let gossip = shapes::of::<Gossip>().map_err(|error| error.to_string())?;
    lua += &enums(&messages.enums);
    lua += &enums(&gossip.enums);
    let _ = writeln!(lua, "local gossip = {}", shape(&gossip.shape));
    let info = shapes::of::<NodeInfo>().map_err(|error| error.to_string())?;
    let _ = writeln!(lua, "local node_info = {}", shape(&info.shape));
    lua += "-- Up to here.";
    Ok(lua)
}

fn enums(enums: &BTreeMap<String, Vec<(String, Shape)>>) -> String {
    let mut lua = String::new();
    for (name, variants) in enums {
        let _ = writeln!(lua, "enums.{name} = {{");
        for (variant, carried) in variants {
            let _ = writeln!(lua, "    {{ \"{variant}\", {} }},", shape(carried));
        }
        lua += "}\n";
    }
    lua
}

fn shape(of: &Shape) -> String {
    let plain = |is: &str| format!("{{ is = \"{is}\" }}");
    match of {
        Shape::Byte => plain("byte"),
        Shape::Bool => plain("bool"),
        Shape::Unsigned => plain("unsigned"),
        Shape::Signed => plain("signed"),
        Shape::Text => plain("text"),
        Shape::Bytes => plain("bytes"),
        Shape::Option(inner) => format!("{{ is = \"option\", inner = {} }}", shape(inner)),
        Shape::List(inner) => format!("{{ is = \"list\", inner = {} }}", shape(inner)),
        Shape::Enum(name) => format!("{{ is = \"enum\", name = \"{name}\" }}"),
        Shape::Fields(fields) => {
            let fields = fields
                .iter()
                .map(|(name, inner)| format!("{{ \"{name}\", {} }}", shape(inner)));
            let fields = fields.collect::<Vec<_>>().join(", ");
            format!("{{ is = \"fields\", fields = {{ {fields} }} }}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_of_the_header_is_missing() {
        let mut behind = 0;
        for (name, offset, size, count) in header() {
            assert_eq!(offset, behind, "{name}");
            behind += size * count;
        }
        assert_eq!(behind, HEADER_LEN);
    }

    #[test]
    fn tables_name_what_there_is() {
        let tables = tables().expect("the types are readable");
        for line in [
            "{ \"seq\", 44, 4, 1 },",
            "{ \"ack\", 48, 4, 2 },",
            "[5] = \"Echo\"",
            "    { \"Release\", { is = \"fields\", fields = { { \"pid\", { is = \"unsigned\" } }, { \"epoch\", { is = \"unsigned\" } } } } },",
        ] {
            assert!(tables.contains(line), "{line} in {tables}");
        }
    }
}
