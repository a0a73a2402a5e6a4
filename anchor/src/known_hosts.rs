//! Checking an SSH server's host key against a `known_hosts` file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

use base64ct::{Base64, Encoding};

/// Checks that `file` has this key (its SSH encoding) for this server.
///
/// Lines with hashed names, patterns or certificate authorities are ignored. A revoked key is refused wherever it is in
/// the file.
///
/// # Errors
/// What to tell the operator.
pub(crate) fn check(file: &str, host: &str, port: u16, kind: &str, key: &[u8]) -> Result<(), String> {
    let key = Base64::encode_string(key);
    let with_port = format!("[{host}]:{port}");
    let is_server = |name: &str| name == with_port || (port == 22 && name.eq_ignore_ascii_case(host));
    let mut known = false;
    let mut others = Vec::new();
    for line in file.lines() {
        let mut fields = line.split_ascii_whitespace().peekable();
        let marker = fields.next_if(|field| field.starts_with('@'));
        let (Some(names), Some(other), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if names.starts_with('#') || !names.split(',').any(is_server) {
            continue;
        }
        match marker {
            Some("@revoked") if text == key => return Err(format!("{with_port}: this {kind} host key is revoked")),
            Some(_) => {}
            None if text == key => known = true,
            None => others.push(other),
        }
    }
    if known {
        return Ok(());
    }
    if others.is_empty() {
        return Err(format!("known_hosts has no key of {with_port}: get it with `ssh-keyscan` and compare it by hand"));
    }
    let others = others.join(", ");
    Err(format!(
        "{with_port} shows a {kind} key that known_hosts does not have (it has {others}): the server changed, or somebody \
                 is between"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"\0\0\0\x0bssh-ed25519 a key";

    fn line(names: &str) -> String {
        format!("{names} ssh-ed25519 {} comment\n", Base64::encode_string(KEY))
    }

    fn is_known(file: &str, host: &str, port: u16) -> bool {
        check(file, host, port, "ssh-ed25519", KEY).is_ok()
    }

    #[test]
    fn server_is_found_by_name_and_port() {
        assert!(is_known(&line("example.com"), "example.com", 22));
        assert!(is_known(&line("other,example.com"), "example.com", 22));
        assert!(is_known(&line("[example.com]:22"), "example.com", 22));
        assert!(is_known(&line("[127.0.0.1]:2222"), "127.0.0.1", 2222));
        assert!(!is_known(&line("example.com"), "example.com", 2222));
        assert!(!is_known(&line("[example.com]:2222"), "example.com", 22));
        assert!(!is_known(&line("example.com"), "evil.example.com", 22));
        assert!(!is_known(&format!("#{}", line("example.com")), "example.com", 22));
        assert!(!is_known(&line("*"), "example.com", 22));
        assert!(!is_known("", "example.com", 22));
    }

    #[test]
    fn other_key_is_refused_and_named() {
        let file = line("example.com");
        let error = check(&file, "example.com", 22, "ssh-rsa", b"other").expect_err("another key");
        assert!(error.contains("example.com") && error.contains("ssh-rsa") && error.contains("ssh-ed25519"), "{error}");
        // The second of two keys of the server counts as much.
        let two = format!("example.com ssh-rsa AAAA\n{file}");
        assert!(is_known(&two, "example.com", 22));
    }

    #[test]
    fn revoked_and_authority_lines_do_not_count() {
        let file = line("example.com");
        assert!(!is_known(&format!("{file}@revoked {file}"), "example.com", 22));
        assert!(!is_known(&format!("@cert-authority {file}"), "example.com", 22));
    }
}
