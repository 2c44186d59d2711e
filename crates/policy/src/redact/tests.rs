//! Redaction, by example and by property.

use proptest::prelude::*;

use super::*;

fn redactor(secret: &str) -> Redactor {
    Redactor::new([("KEY", secret.as_bytes())]).expect("long enough")
}

#[test]
fn a_secret_is_replaced_by_its_name() {
    let redactor = redactor("hunter2-hunter2");
    assert_eq!(redactor.redact_text("key=hunter2-hunter2;"), "key=[redacted:KEY];");
    assert_eq!(redactor.redact_text("hunter2-hunter"), "hunter2-hunter");
    assert_eq!(Redactor::nothing().redact_text("hunter2"), "hunter2");
}

#[test]
fn a_short_secret_is_an_error_that_names_it_and_not_its_value() {
    let error = Redactor::new([("PIN", b"1234567".as_slice())]).expect_err("seven bytes");
    assert_eq!(
        error.to_string(),
        "the secret `PIN` has 7 bytes; it takes at least 8 to be redacted from logs"
    );
}

#[test]
fn the_usual_encodings_are_found() {
    let secret = "p@ss/wörd \"quoted\"+~*";
    let redactor = redactor(secret);
    let bytes = secret.as_bytes();
    let mut texts = vec![
        secret.to_owned(),
        serde_json::json!({ "key": secret }).to_string(),
        "p%40ss%2Fw%C3%B6rd%20%22quoted%22%2B~%2A".to_owned(),
        "p%40ss%2fw%c3%b6rd+%22quoted%22%2b%7e*".to_owned(),
        bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
    ];
    for before in ["", "u", "us", "user:"] {
        let joined = [before.as_bytes(), bytes, b":more"].concat();
        texts.push(base64::engine::general_purpose::STANDARD.encode(&joined));
        texts.push(URL_SAFE_NO_PAD.encode(&joined));
    }
    for text in texts {
        assert!(redactor.redact_text(&text).contains("[redacted:KEY]"), "not found in {text}");
    }
}

#[test]
fn a_key_of_several_lines_is_found_whole_with_other_line_ends_and_line_by_line() {
    let key =
        "-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG9w0B\nAQEFAASCAUAwggE8AgEA\n-----END KEY-----\n";
    let redactor = redactor(key);
    assert_eq!(redactor.redact_text(key), "[redacted:KEY]");
    assert_eq!(redactor.redact_text(&key.replace('\n', "\r\n")), "[redacted:KEY]\r\n");
    assert_eq!(redactor.redact_text("  AQEFAASCAUAwggE8AgEA"), "  [redacted:KEY]");
    assert_eq!(redactor.redact_text("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
}

#[test]
fn ordinary_output_is_not_held_back() {
    let redactor = redactor("hunter2-hunter2");
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"$ make\n"), b"$ make\n");
    assert_eq!(stream.push(b"all good hun"), b"all good ");
    assert_eq!(stream.push(b"gry"), b"hungry");
    assert_eq!(stream.finish(), b"");
}

#[test]
fn debug_prints_no_value() {
    assert!(!format!("{:?}", redactor("hunter2-hunter2").stream()).contains("hunter2"));
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_gives_what_the_whole_gives(
        secrets in prop::collection::vec("[ab]{8,12}", 1..4),
        text in "[abc]{0,80}",
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4), 0..4),
        cuts in prop::collection::vec(1usize..9, 1..40),
    ) {
        // Plant some of the secrets, next to and over one another.
        let mut text = text.into_bytes();
        for (place, secret) in picks {
            let at = place.index(text.len() + 1);
            let secret = secrets[secret % secrets.len()].as_bytes();
            text.splice(at..at, secret.iter().copied());
        }
        let named = secrets.iter().map(|secret| ("K", secret.as_bytes()));
        let redactor = Redactor::new(named).expect("long enough");
        let whole = redactor.redact(&text);

        let mut stream = redactor.stream();
        let mut pieces = Vec::new();
        let mut rest = text.as_slice();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, others) = rest.split_at(cut.min(rest.len()));
            pieces.extend(stream.push(piece));
            rest = others;
        }
        pieces.extend(stream.finish());
        prop_assert_eq!(&pieces, &whole);
        for secret in &secrets {
            let found = whole.windows(secret.len()).any(|window| window == secret.as_bytes());
            prop_assert!(!found);
        }
    }

    #[test]
    fn no_encoding_of_any_bytes_survives(
        secret in prop::collection::vec(any::<u8>(), 8..40),
        before in prop::collection::vec(any::<u8>(), 0..7),
        after in prop::collection::vec(any::<u8>(), 0..7),
    ) {
        let redactor = Redactor::new([("K", secret.as_slice())]).expect("long enough");
        let joined = [before.as_slice(), &secret, &after].concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(&joined);
        prop_assert!(redactor.redact_text(&encoded).contains("[redacted:K]"));
        let hex: String = joined.iter().map(|byte| format!("{byte:02x}")).collect();
        prop_assert!(redactor.redact_text(&hex).contains("[redacted:K]"));
        prop_assert!(!redactor.redact(&joined).windows(secret.len()).any(|window| window == secret));
    }
}
