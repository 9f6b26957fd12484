//! Writes the names of a kernel image's functions into it: `embed_symbols IN OUT`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed_symbols IN OUT".into());
    };
    let mut image = std::fs::read(input)?;
    let count = machine::symbols::embed(&mut image)?;
    std::fs::write(output, image)?;
    println!("{count} functions");
    Ok(())
}
