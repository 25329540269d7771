//! Why there is no session, in the words of an operator.

use rustls::{AlertDescription, CertificateError, Error};

/// A clause about the peer: what it did, what was expected, what to do where that is known.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(reason) => certificate(reason),
        Error::AlertReceived(alert) => refused(*alert),
        Error::NoCertificatesPresented => "it shows no certificate, which is asked for here".to_owned(),
        Error::InvalidMessage(_) => "what it sends is not TLS".to_owned(),
        Error::PeerIncompatible(reason) => {
            format!(
                "it has no version or cipher suite in common with us ({reason:?}): 1.2 and 1.3 are spoken here"
            )
        }
        other => format!("the TLS session failed: {other}"),
    }
}

fn certificate(reason: &CertificateError) -> String {
    match reason {
        CertificateError::ExpiredContext { time, not_after } => {
            let hours = time.as_secs().saturating_sub(not_after.as_secs()) / 3_600;
            let ago = if hours < 48 { format!("{hours} h") } else { format!("{} days", hours / 24) };
            format!("its certificate expired {ago} ago: renew it")
        }
        CertificateError::Expired => "its certificate has expired: renew it".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks".to_owned()
        }
        // An authority that has got a new key keeps its name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by no authority that is trusted here: name its authority in ca_file"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.join(", ");
            format!(
                "its certificate is for {names} and not for {}: reach it by one of those names, or give one as server_name",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => {
            "its certificate is for another name: reach it by its name, or give that as server_name"
                .to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

fn refused(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            "it wants a certificate of ours: name cert_file and key_file".to_owned()
        }
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate => {
            format!("it refuses a certificate ({alert:?}): our authority is not among those that it trusts")
        }
        Alert::CertificateExpired => {
            "it refuses a certificate of ours, which has expired: renew it".to_owned()
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion => {
            format!(
                "it refuses the handshake ({alert:?}): it may want a certificate of ours, or another version"
            )
        }
        other => format!("it refuses the session ({other:?})"),
    }
}
