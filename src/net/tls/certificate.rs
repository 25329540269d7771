//! When a certificate expires, and whose it is.
//!
//! rustls judges a peer's certificate by itself, and tells nobody the dates of our own or the name in the peer's. So the few fields before them are walked
//! over here (RFC 5280, section 4.1). Deliberately does not: judge anything; what can't be read has no date.

use std::path::PathBuf;

/// A certificate that the process shows to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file that it came from.
    pub file: PathBuf,
    /// When it expires, in seconds since 1970; none if it does not say so in a way that can be read.
    pub expires_unix_s: Option<i64>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// 2.5.4.3 (X.520).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// UTF8String, PrintableString and IA5String, all of which are read as UTF-8.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of the validity of a certificate in DER, in seconds since 1970.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (validity, _) = element(from_validity(der)?, SEQUENCE)?;
    let (_, _, end) = any(validity)?;
    let (tag, text, _) = any(end)?;
    time(tag, text)
}

/// The first common name of the subject of a certificate in DER.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let (mut names, _) = element(any(from_validity(der)?)?.2, SEQUENCE)?;
    while !names.is_empty() {
        let (mut set, rest) = element(names, SET)?;
        names = rest;
        while !set.is_empty() {
            let (pair, others) = element(set, SEQUENCE)?;
            set = others;
            let (kind, value) = element(pair, OBJECT_IDENTIFIER)?;
            if kind == COMMON_NAME {
                let (tag, text, _) = any(value)?;
                let text = TEXTS.contains(&tag).then_some(text)?;
                return String::from_utf8(text.to_vec()).ok().filter(|name| !name.is_empty());
            }
        }
    }
    None
}

/// The fields of a certificate from its validity on: then come the subject, its key and extensions.
fn from_validity(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = any(fields)?.2;
    }
    // The serial number, the algorithm of the signature, and the issuer.
    for _ in 0..3 {
        fields = any(fields)?.2;
    }
    Some(fields)
}

/// The tag and the content of the first element, and what comes behind it.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (
            digits
                .iter()
                .try_fold(0_usize, |len, digit| len.checked_mul(256)?.checked_add(usize::from(*digit)))?,
            rest,
        )
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// As [`any`], of an element with this tag.
fn element(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = any(der)?;
    (tag == wanted).then_some((content, rest))
}

/// `YYMMDDhhmmssZ`, of which the years from 50 on are of the last century, or `YYYYMMDDhhmmssZ`.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let mut numbers =
        rest.as_bytes().chunks(2).map(|digits| std::str::from_utf8(digits).ok()?.parse::<i64>().ok());
    let mut next = || numbers.next().flatten();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that the day of a leap year comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_of_both_forms_are_read() {
        for (tag, text, expect) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20000229120000Z", Some(951_825_600)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "2000", None),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "xx0101000000Z", None),
            (0x0c, "700101000000Z", None),
        ] {
            assert_eq!(time(tag, text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn what_is_cut_short_has_no_date() {
        // A whole skeleton: version, serial, algorithm, issuer, validity.
        let validity =
            [&[SEQUENCE, 30, UTC_TIME, 13][..], b"700101000000Z", &[UTC_TIME, 13], b"700102000000Z"].concat();
        let fields = [&[VERSION, 1, 2, 2, 1, 9, SEQUENCE, 0, SEQUENCE, 0][..], &validity].concat();
        let inner = [&[SEQUENCE, 0x81, fields.len() as u8][..], &fields].concat();
        let der = [&[SEQUENCE, 0x82, 0, inner.len() as u8][..], &inner].concat();
        assert_eq!(not_after(&der), Some(86_400));
        for len in 0..der.len() {
            assert_eq!(not_after(&der[..len]), None);
        }
    }

    fn with_subject(subject: &[u8]) -> Vec<u8> {
        let start = [VERSION, 1, 2, 2, 1, 9, SEQUENCE, 0, SEQUENCE, 0, SEQUENCE, 0];
        let fields = [&start[..], &[SEQUENCE, subject.len() as u8], subject].concat();
        let inner = [&[SEQUENCE, fields.len() as u8][..], &fields].concat();
        [&[SEQUENCE, inner.len() as u8][..], &inner].concat()
    }

    #[test]
    fn the_common_name_is_found_among_the_others() {
        let name = |last: u8, tag: u8, text: &[u8]| {
            let pair = [&[OBJECT_IDENTIFIER, 3, 0x55, 4, last, tag, text.len() as u8][..], text].concat();
            let pair = [&[SEQUENCE, pair.len() as u8][..], &pair].concat();
            [&[SET, pair.len() as u8][..], &pair].concat()
        };
        let named = |subject: &[u8]| common_name(&with_subject(subject));
        let organisation = name(10, 0x0c, b"Orders");
        assert_eq!(named(&[organisation.clone(), name(3, 0x0c, b"app")].concat()).as_deref(), Some("app"));
        assert_eq!(named(&name(3, 0x13, b"app")).as_deref(), Some("app"));
        for none in
            [organisation, Vec::new(), name(3, 0x1e, b"\0a"), name(3, 0x0c, b""), name(3, 0x0c, b"\xff")]
        {
            assert_eq!(named(&none), None);
        }
        let whole = with_subject(&name(3, 0x0c, b"app"));
        for len in 0..whole.len() {
            assert_eq!(common_name(&whole[..len]), None);
        }
    }
}
