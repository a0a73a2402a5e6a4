//! Every way to change one field, line by line, of an object that is text.

/// One forgery of a text.
pub(super) struct Forged {
    /// What was done, and where.
    pub(super) what: String,
    /// The first word of the line that was changed.
    pub(super) field: String,
    pub(super) text: String,
}

/// All forgeries of a text that change it.
pub(super) fn forgeries(text: &str) -> Vec<Forged> {
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    let mut all = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let field = line.split(' ').next().unwrap_or_default().to_owned();
        let mut add = |what: &str, replaced: Vec<String>| {
            let mut changed: Vec<String> = lines[..i].iter().map(|line| (*line).to_owned()).collect();
            changed.extend(replaced);
            changed.extend(lines[i + 1..].iter().map(|line| (*line).to_owned()));
            let changed = changed.join("\n") + "\n";
            if changed != text {
                all.push(Forged {
                    what: format!("line {}, {line:?}: {what}", i + 1),
                    field: field.clone(),
                    text: changed,
                });
            }
        };
        add("gone", vec![]);
        add("twice", vec![(*line).to_owned(); 2]);
        add("an unknown line before it", vec!["note x".to_owned(), (*line).to_owned()]);
        add("an empty line before it", vec![String::new(), (*line).to_owned()]);
        for (what, tail) in
            [("a space", " "), ("a carriage return", "\r"), ("a NUL", "\0"), ("a tab", "\t"), ("a word", " x")]
        {
            add(&format!("{what} at its end"), vec![format!("{line}{tail}")]);
        }
        add("a space at its begin", vec![format!(" {line}")]);
        add("two spaces for one", vec![line.replacen(' ', "  ", 1)]);
        add("a tab for a space", vec![line.replacen(' ', "\t", 1)]);
        let words: Vec<&str> = line.split(' ').collect();
        for (j, word) in words.iter().enumerate() {
            for (what, other) in others(word) {
                let mut changed = words.clone();
                changed[j] = &other;
                add(&format!("word {}: {what}", j + 1), vec![changed.join(" ")]);
            }
        }
    }
    // Swap two neighbours.
    for i in 1..lines.len() {
        let mut changed = lines.clone();
        changed.swap(i - 1, i);
        let changed = changed.join("\n") + "\n";
        if changed != text {
            let field = lines[i].split(' ').next().unwrap_or_default().to_owned();
            all.push(Forged { what: format!("lines {i} and {} change places", i + 1), field, text: changed });
        }
    }
    all
}

/// Other values of one word, or other spellings of its value.
fn others(word: &str) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("nothing", String::new()),
        ("absent", "-".to_owned()),
        ("longer by a letter", format!("{word}x")),
        ("twice as long", format!("{word}{word}")),
        ("beyond ASCII", format!("{word}é")),
        ("very long", word.repeat(300)),
        ("in capitals", word.to_uppercase()),
        ("zero", "0".to_owned()),
        ("one", "1".to_owned()),
        ("the largest number", "9223372036854775807".to_owned()),
        ("a number above the largest", "9223372036854775808".to_owned()),
        ("a number above 64 bits", "18446744073709551616".to_owned()),
        ("a negative number", "-1".to_owned()),
        ("minus zero", "-0".to_owned()),
        ("another hash", evidence::sha256(word.as_bytes()).to_string()),
    ];
    if let Ok(number) = word.parse::<i64>() {
        all.push(("one more", number.wrapping_add(1).to_string()));
        all.push(("one less", number.wrapping_sub(1).to_string()));
        all.push(("a leading zero", format!("0{word}")));
        all.push(("a plus sign", format!("+{word}")));
        all.push(("with an exponent", format!("{word}e0")));
    }
    let mut letters: Vec<char> = word.chars().collect();
    if let Some(first) = letters.first_mut() {
        *first = if *first == 'A' { 'B' } else { 'A' };
        all.push(("another first letter", letters.iter().collect()));
    }
    if word.ends_with('=') {
        all.push(("without padding", word.trim_end_matches('=').to_owned()));
        // The last letter before the padding has bits that mean nothing; they must be zero.
        let end = word.trim_end_matches('=').len();
        let (head, last) = word[..end].split_at(end - 1);
        let next = last.bytes().next().map_or(b'B', |byte| if byte == b'z' { b'0' } else { byte + 1 });
        all.push(("bits in the padding", format!("{head}{}{}", next as char, &word[end..])));
        all.push(("in the URL alphabet", word.replace('+', "-").replace('/', "_")));
    }
    all.retain(|(_, other)| other != word);
    all
}
