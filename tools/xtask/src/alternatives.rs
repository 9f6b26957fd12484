//! Names that packages share: what `update-alternatives` would make of a script that never runs.
//!
//! Law: of the script only the words of `update-alternatives --install` and of the loops around them
//! are read. What stands there otherwise (conditions, variables, other commands) is not understood,
//! and a name that would need it is left out.

/// One name that a package offers: `path` leads to `target`; the highest `priority` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alternative {
    pub(crate) path: String,
    pub(crate) target: String,
    pub(crate) priority: i64,
}

/// What the script of a package offers.
pub(crate) fn offered(script: &str) -> Vec<Alternative> {
    let script = script.replace("\\\n", " ");
    let mut loops: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut found = Vec::new();
    for line in script.lines() {
        let words: Vec<&str> = line
            .split([' ', '\t', ';'])
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            ["for", name, "in", values @ ..] => {
                let values = values.iter().copied().filter(|word| *word != "do");
                loops.push((name, values.collect()));
            }
            ["done", ..] => drop(loops.pop()),
            ["update-alternatives", words @ ..] => {
                found.extend(in_loops(words, &loops).iter().flat_map(|words| read(words)))
            }
            _ => {}
        }
    }
    found
}

/// The words once for each turn of the loops around them.
fn in_loops(words: &[&str], loops: &[(&str, Vec<&str>)]) -> Vec<Vec<String>> {
    let plain = words.iter().map(|word| word.trim_matches('"').to_owned());
    loops
        .iter()
        .fold(vec![plain.collect()], |lines, (name, values)| {
            let turn = |line: &Vec<String>, value: &str| -> Vec<String> {
                let (braced, bare) = (format!("${{{name}}}"), format!("${name}"));
                line.iter()
                    .map(|word| word.replace(&braced, value).replace(&bare, value))
                    .collect()
            };
            lines
                .iter()
                .flat_map(|line| values.iter().map(move |value| turn(line, value)))
                .collect()
        })
}

/// `--install PATH NAME TARGET PRIORITY`, and `--slave PATH NAME TARGET`, which go with it.
fn read(words: &[String]) -> Vec<Alternative> {
    let mut found: Vec<Alternative> = Vec::new();
    let mut rest = words;
    while let [first, after @ ..] = rest {
        rest = after;
        let (priority, used) = match (first.as_str(), after, found.first()) {
            ("--install", [_, _, _, priority, ..], _) => match priority.parse() {
                Ok(priority) => (priority, 4),
                Err(_) => continue,
            },
            ("--slave", [_, _, _, ..], Some(master)) => (master.priority, 3),
            _ => continue,
        };
        let (path, target) = (after[0].clone(), after[2].clone());
        rest = &after[used..];
        if [&path, &target].iter().all(|path| is_path(path)) {
            found.push(Alternative {
                path,
                target,
                priority,
            });
        }
    }
    found
}

fn is_path(word: &str) -> bool {
    word.starts_with('/') && !word.contains(['$', '`', '*', '"', '\'']) && !word.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(script: &str) -> Vec<(String, String, i64)> {
        let offered = offered(script).into_iter();
        offered.map(|a| (a.path, a.target, a.priority)).collect()
    }

    fn triple(path: &str, target: &str, priority: i64) -> (String, String, i64) {
        (path.to_owned(), target.to_owned(), priority)
    }

    #[test]
    fn a_name_and_what_goes_with_it() {
        let script = "if [ \"$1\" = configure ]; then\n  update-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 \\\n    --slave /usr/bin/nawk nawk /usr/bin/mawk\nfi\n";
        let expected = ["/usr/bin/awk", "/usr/bin/nawk"];
        assert_eq!(
            told(script),
            expected.map(|name| triple(name, "/usr/bin/mawk", 5))
        );
        assert_eq!(
            told("update-alternatives --quiet --install /bin/a a /bin/b -7"),
            [triple("/bin/a", "/bin/b", -7)]
        );
    }

    #[test]
    fn names_of_a_loop() {
        let script = "for p in one two; do\n\tupdate-alternatives --install /usr/bin/$p \\\n\t $p /usr/bin/${p}-x 10\ndone\nupdate-alternatives --install /a $p /b/$p 3\n";
        assert_eq!(
            told(script),
            [
                triple("/usr/bin/one", "/usr/bin/one-x", 10),
                triple("/usr/bin/two", "/usr/bin/two-x", 10)
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        for script in [
            "update-alternatives --remove awk /usr/bin/mawk",
            "update-alternatives --install /usr/bin/awk awk",
            "update-alternatives --install /usr/bin/awk awk $TARGET 5",
            "update-alternatives --install /usr/bin/awk awk /usr/bin/mawk $PRIORITY",
            "update-alternatives --slave /usr/bin/awk awk /usr/bin/mawk",
            "echo update-alternatives --install /a b /c 1",
            "update-alternatives --install ../a b /c 1",
        ] {
            assert_eq!(told(script), [], "{script}");
        }
    }
}
