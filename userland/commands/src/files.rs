//! Small commands on files: `cat`, `cmp`, `head`, `hexdump`, `ls`, `mkdir`, `rm`, `wc`.
//!
//! Law: a file is streamed, never held whole; one bad file does not keep the others from being
//! treated, but the status tells.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::{Done, Failure, print};

const CHUNK: usize = 64 << 10;

fn open(name: &str) -> io::Result<Box<dyn Read>> {
    if name == "-" {
        Ok(Box::new(io::stdin()))
    } else {
        Ok(Box::new(File::open(name)?))
    }
}

/// Treats every file named, or standard input if none is; says which of them failed.
fn for_each(
    command: &str,
    names: &[String],
    mut treat: impl FnMut(&str, Box<dyn Read>) -> io::Result<()>,
) -> Done {
    let input = ["-".to_owned()];
    let mut done = Ok(());
    for name in if names.is_empty() { &input[..] } else { names } {
        if let Err(error) = open(name).and_then(|file| treat(name, file)) {
            eprintln!("{command}: {name}: {error}");
            done = Err(Failure::Status(1));
        }
    }
    done
}

fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn unprinted(failure: Failure) -> io::Error {
    match failure {
        Failure::Problem(problem) => io::Error::other(problem),
        Failure::Usage(_) | Failure::Status(_) => io::Error::other("cannot write"),
    }
}

/// Prints files.
pub(crate) fn cat(arguments: &[String]) -> Done {
    let mut buffer = vec![0; CHUNK];
    for_each("cat", arguments, |_, mut file| {
        loop {
            // Straight out, so that what comes through a pipe is seen as it comes.
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            rt::files::write_all(rt::files::Stream::Output, &buffer[..count])?;
        }
    })
}

/// Compares two files; status 1 if they differ.
pub(crate) fn cmp(arguments: &[String]) -> Done {
    let [left, right] = arguments else {
        return Err(Failure::Usage("cmp FILE FILE"));
    };
    let open = |name: &String| open(name).map_err(|error| Failure::io(name, &error));
    let (mut one, mut other) = (open(left)?, open(right)?);
    let (mut a, mut b) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0;
    loop {
        let first = fill(&mut one, &mut a).map_err(|error| Failure::io(left, &error))?;
        let second = fill(&mut other, &mut b).map_err(|error| Failure::io(right, &error))?;
        let common = first.min(second);
        if let Some(at) = (0..common).find(|&at| a[at] != b[at]) {
            print(format!("{left} {right} differ: byte {}\n", offset + at + 1).as_bytes())?;
            return Err(Failure::Status(1));
        }
        if first != second {
            let shorter = if first < second { left } else { right };
            eprintln!("cmp: {shorter} ends after byte {}", offset + common);
            return Err(Failure::Status(1));
        }
        if first == 0 {
            return Ok(());
        }
        offset += first;
    }
}

/// Prints the first lines.
pub(crate) fn head(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("head [-n LINES] [FILE]...");
    let (count, names) = match arguments {
        [option, count, rest @ ..] if option == "-n" => (count.parse().map_err(|_| USAGE)?, rest),
        [option, ..] if option.starts_with('-') && option.len() > 1 => return Err(USAGE),
        rest => (10usize, rest),
    };
    for_each("head", names, |_, file| {
        let mut reader = BufReader::new(file);
        for _ in 0..count {
            // A line may be longer than memory: it goes out piece by piece.
            loop {
                let piece = reader.fill_buf()?;
                let end = piece
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .map(|at| at + 1);
                let length = end.unwrap_or(piece.len());
                print(&piece[..length]).map_err(unprinted)?;
                reader.consume(length);
                if end.is_some() || length == 0 {
                    break;
                }
            }
        }
        Ok(())
    })
}

/// Prints files as offsets, bytes and characters.
pub(crate) fn hexdump(arguments: &[String]) -> Done {
    let mut line = [0; 16];
    for_each("hexdump", arguments, |_, file| {
        let mut reader = BufReader::new(file);
        let mut offset = 0usize;
        loop {
            let count = fill(&mut reader, &mut line)?;
            if count == 0 {
                return Ok(());
            }
            let bytes: String = line[..count]
                .iter()
                .map(|byte| format!("{byte:02x} "))
                .collect();
            let text: String = line[..count]
                .iter()
                .map(|&byte| {
                    if (32..127).contains(&byte) {
                        char::from(byte)
                    } else {
                        '.'
                    }
                })
                .collect();
            print(format!("{offset:08x}  {bytes:<48} |{text}|\n").as_bytes()).map_err(unprinted)?;
            offset += count;
        }
    })
}

/// Lists directories; `-l` with kind, size and name.
pub(crate) fn ls(arguments: &[String]) -> Done {
    let (long, names) = match arguments {
        [option, rest @ ..] if option == "-l" => (true, rest),
        [option, ..] if option.starts_with('-') => return Err(Failure::Usage("ls [-l] [PATH]...")),
        rest => (false, rest),
    };
    let here = [".".to_owned()];
    let mut done = Ok(());
    for name in if names.is_empty() { &here[..] } else { names } {
        if let Err(error) = list(name, long, names.len() > 1) {
            eprintln!("ls: {name}: {error}");
            done = Err(Failure::Status(1));
        }
    }
    done
}

fn list(name: &str, long: bool, titled: bool) -> io::Result<()> {
    if !std::fs::metadata(name)?.is_dir() {
        return print(entry(name, name, long)?.as_bytes()).map_err(unprinted);
    }
    let mut entries = std::fs::read_dir(name)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    let mut text = if titled {
        format!("{name}:\n")
    } else {
        String::new()
    };
    for child in entries {
        text += &entry(&format!("{name}/{child}"), &child, long)?;
    }
    print(text.as_bytes()).map_err(unprinted)
}

fn entry(path: &str, name: &str, long: bool) -> io::Result<String> {
    if !long {
        return Ok(format!("{name}\n"));
    }
    let data = std::fs::symlink_metadata(path)?;
    let kind = match data.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_char_device() => 'c',
        kind if kind.is_fifo() => 'p',
        _ => '-',
    };
    Ok(format!(
        "{kind}{:04o} {:>12} {name}\n",
        data.mode() & 0o7777,
        data.len()
    ))
}

/// Makes directories.
pub(crate) fn mkdir(arguments: &[String]) -> Done {
    let (parents, names) = match arguments {
        [option, rest @ ..] if option == "-p" => (true, rest),
        rest => (false, rest),
    };
    if names.is_empty() {
        return Err(Failure::Usage("mkdir [-p] PATH..."));
    }
    let mut done = Ok(());
    for name in names {
        let made = if parents {
            std::fs::create_dir_all(name)
        } else {
            std::fs::create_dir(name)
        };
        if let Err(error) = made {
            eprintln!("mkdir: {name}: {error}");
            done = Err(Failure::Status(1));
        }
    }
    done
}

/// Removes files; with `-f` it is no failure if they do not exist.
pub(crate) fn rm(arguments: &[String]) -> Done {
    let (force, names) = match arguments {
        [option, rest @ ..] if option == "-f" => (true, rest),
        rest => (false, rest),
    };
    if names.is_empty() && !force {
        return Err(Failure::Usage("rm [-f] FILE..."));
    }
    let mut done = Ok(());
    for name in names {
        match std::fs::remove_file(name) {
            Err(error) if !(force && error.kind() == io::ErrorKind::NotFound) => {
                eprintln!("rm: {name}: {error}");
                done = Err(Failure::Status(1));
            }
            _ => {}
        }
    }
    done
}

/// Counts lines, words and bytes; `-c`, `-l` or `-w` only one of them.
pub(crate) fn wc(arguments: &[String]) -> Done {
    let (only, names) = match arguments {
        [option, rest @ ..] if matches!(option.as_str(), "-c" | "-l" | "-w") => {
            (Some(option.as_str()), rest)
        }
        [option, ..] if option.starts_with('-') && option.len() > 1 => {
            return Err(Failure::Usage("wc [-c|-l|-w] [FILE]..."));
        }
        rest => (None, rest),
    };
    let mut buffer = vec![0; CHUNK];
    for_each("wc", names, |name, mut file| {
        let (mut lines, mut words, mut bytes, mut inside) = (0u64, 0u64, 0u64, false);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            for &byte in &buffer[..count] {
                lines += u64::from(byte == b'\n');
                words += u64::from(!inside && !byte.is_ascii_whitespace());
                inside = !byte.is_ascii_whitespace();
            }
        }
        let counts = match only {
            Some("-c") => bytes.to_string(),
            Some("-l") => lines.to_string(),
            Some(_) => words.to_string(),
            None => format!("{lines} {words} {bytes}"),
        };
        let name = if name == "-" {
            String::new()
        } else {
            format!(" {name}")
        };
        print(format!("{counts}{name}\n").as_bytes()).map_err(unprinted)
    })
}
