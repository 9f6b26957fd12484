//! What `pam-auth-update` would make: the stacks of modules in /etc/pam.d that all services share.
//!
//! Law: templates and profiles are those of the packages; a profile counts if it says that it is one by
//! default. What an administrator would choose besides is nobody's choice here.
//!
//! Formats: pam-auth-update(8), pam.d(5).

use std::collections::BTreeMap;

/// The stacks, each `common-` and this.
pub(crate) const STACKS: [&str; 5] = [
    "account",
    "auth",
    "password",
    "session",
    "session-noninteractive",
];

/// One file below `pam-configs`: fields by name, each with its lines.
#[derive(Debug, Default)]
pub(crate) struct Profile(BTreeMap<String, Vec<String>>);

impl Profile {
    /// Reads `Name: value` and the indented lines below it, if it is one by default.
    pub(crate) fn read(text: &str) -> Option<Profile> {
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = "";
        for line in text.lines() {
            let indented = line.starts_with([' ', '\t']);
            let value = match line.split_once(':') {
                Some((field, value)) if !indented => {
                    name = field;
                    value
                }
                _ => line,
            };
            let lines = fields.entry(name.to_owned()).or_default();
            if !value.trim().is_empty() {
                lines.push(value.trim().to_owned());
            }
        }
        let profile = Profile(fields);
        (profile.word("Default") == "yes").then_some(profile)
    }

    fn word(&self, field: &str) -> &str {
        let lines = self.0.get(field).map(Vec::as_slice);
        lines.and_then(<[_]>::first).map_or("", String::as_str)
    }

    fn priority(&self) -> i64 {
        self.word("Priority").parse().unwrap_or(0)
    }
}

/// The file that `template` and `profiles` make, of the name `common-NAME`.
pub(crate) fn stack(name: &str, template: &str, profiles: &[Profile]) -> String {
    let kind = name.split('-').next().unwrap_or(name);
    let interactive = !name.ends_with("-noninteractive");
    let mut ordered: Vec<&Profile> = profiles.iter().collect();
    ordered.sort_by_key(|profile| -profile.priority());
    ordered.retain(|one| interactive || one.word("Session-Interactive-Only") != "yes");
    let mut text = String::new();
    for line in template.lines() {
        // `$session_nonint_primary` has the block as its last word.
        match line.strip_prefix(&format!("${kind}_")) {
            Some(rest) => {
                let block = rest.rsplit('_').next().unwrap_or(rest);
                text += &modules(kind, block, &ordered);
            }
            None => text += &format!("{line}\n"),
        }
    }
    text
}

/// The lines of one block of a stack. `end` of a module of the primary block skips those behind it in the block,
/// and the one that denies.
fn modules(kind: &str, block: &str, profiles: &[&Profile]) -> String {
    let title = capital(kind);
    let of_block = |one: &&&Profile| one.word(&format!("{title}-Type")) == capital(block);
    let mut lines = Vec::new();
    for (at, profile) in profiles.iter().filter(of_block).enumerate() {
        let initial = profile.0.get(&format!("{title}-Initial"));
        let initial = initial.filter(|_| at == 0);
        lines.extend(
            initial
                .or_else(|| profile.0.get(&title))
                .into_iter()
                .flatten(),
        );
    }
    let count = lines.len();
    if count == 0 && block == "primary" {
        // The one that denies stands behind it.
        return format!("{kind}\t[default=1]\tpam_permit.so\n");
    }
    let mut text = String::new();
    for (at, line) in lines.into_iter().enumerate() {
        let line = line.replace("=end", &format!("={}", count - at));
        text += &format!("{kind}\t{line}\n");
    }
    text
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: &str = "Name: Unix\nDefault: yes\nPriority: 256\nAuth-Type: Primary\nAuth:\n\t[success=end default=ignore]\tpam_unix.so try_first_pass\nAuth-Initial:\n\t[success=end default=ignore]\tpam_unix.so\nSession-Type: Additional\nSession:\n\trequired\tpam_unix.so\n";
    const OTHER: &str = "Name: Other\nDefault: yes\nPriority: 9\nAuth-Type: Primary\nAuth:\n\t[success=end default=ignore]\tpam_other.so again\nAuth-Initial:\n\t[success=end]\tpam_other.so\nSession-Type: Additional\nSession-Interactive-Only: yes\nSession:\n\toptional\tpam_other.so\n";
    const TEMPLATE: &str =
        "# text\n$auth_primary\nauth\trequisite\tpam_deny.so\n$auth_additional\n";

    fn profiles() -> Vec<Profile> {
        [OTHER, UNIX]
            .iter()
            .filter_map(|text| Profile::read(text))
            .collect()
    }

    #[test]
    fn the_first_module_asks_and_all_skip_the_one_that_denies() {
        assert_eq!(
            stack("auth", TEMPLATE, &profiles()),
            "# text\nauth\t[success=2 default=ignore]\tpam_unix.so\nauth\t[success=1 default=ignore]\tpam_other.so again\nauth\trequisite\tpam_deny.so\n"
        );
    }

    #[test]
    fn what_is_for_sessions_of_people_is_not_for_others() {
        let template = "$session_primary\n$session_additional\n";
        let both = "session\t[default=1]\tpam_permit.so\nsession\trequired\tpam_unix.so\nsession\toptional\tpam_other.so\n";
        assert_eq!(stack("session", template, &profiles()), both);
        assert_eq!(
            stack(
                "session-noninteractive",
                "$session_nonint_primary\n$session_nonint_additional\n",
                &profiles()
            ),
            "session\t[default=1]\tpam_permit.so\nsession\trequired\tpam_unix.so\n"
        );
    }

    #[test]
    fn who_is_not_chosen_by_default_is_left_out() {
        assert!(Profile::read("Name: x\nDefault: no\nAuth-Type: Primary\n").is_none());
        assert!(Profile::read("").is_none());
    }
}
