//! How a server proves who it is: by exactly the certificate that was pinned, or by authorities.
//! A program without a pin and without authorities trusts nobody.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};

/// A pin or a bundle of authorities that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The pin is no SHA-256 in hexadecimal digits.
    #[error(
        "`{0}` is not a certificate's fingerprint: 64 hexadecimal digits, as `windlass up --tls` prints them"
    )]
    Fingerprint(String),
    /// The bundle can't be read.
    #[error("the bundle of certificate authorities can't be used: {0}")]
    Bundle(String),
}

/// Trusts exactly the certificate with this SHA-256 (hexadecimal digits, colons allowed).
///
/// # Errors
/// [`Error::Fingerprint`] for anything else.
pub fn pinned(fingerprint: &str) -> Result<ClientConfig, Error> {
    Ok(Pinned::parse(fingerprint)?.config())
}

/// Trusts the authorities in a bundle (PEM).
pub(crate) fn authorities(pem: &[u8]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| Error::Bundle(error.to_string()))?;
        // Bundles of systems hold a few old certificates that are not usable.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(Error::Bundle("it holds no usable certificate".to_owned()));
    }
    Ok(builder().with_root_certificates(roots).with_no_client_auth())
}

/// Trusts nobody: for an address that is not `https`.
pub(crate) fn nobody() -> ClientConfig {
    builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the safe default versions")
}

/// Accepts exactly one certificate. The handshake's signature still proves that the server has its key.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    fingerprint: [u8; 32],
    /// The certificate, once the server has shown it.
    shown: Arc<OnceLock<Vec<u8>>>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// Reads a fingerprint.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Fingerprint(text.chars().take(100).collect());
        let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b':').collect();
        if digits.len() != 64 {
            return Err(refuse());
        }
        let mut fingerprint = [0; 32];
        for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self {
            fingerprint,
            shown: Arc::default(),
            provider: Arc::new(ring::default_provider()),
        })
    }

    /// The configuration that trusts it.
    pub(crate) fn config(&self) -> ClientConfig {
        builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.clone()))
            .with_no_client_auth()
    }

    /// The certificate in PEM, for programs that take only that; `None` before the first handshake.
    pub(crate) fn pem(&self) -> Option<String> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let text = STANDARD.encode(self.shown.get()?);
        let lines =
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
        Some(format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.collect::<Vec<_>>().join("\n")
        ))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity.as_ref()).as_slice() == self.fingerprint {
            self.shown.get_or_init(|| end_entity.as_ref().to_vec());
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(
                "the server shows another certificate than the pinned one; if it was renewed on purpose, \
                 pin the fingerprint that it prints now"
                    .to_owned(),
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_digits_with_or_without_colons() {
        assert!(pinned(&"aB".repeat(32)).is_ok());
        assert!(pinned(&["ab"; 32].join(":")).is_ok());
        for wrong in ["", "ab", &"zz".repeat(32), &"ab".repeat(33)] {
            assert_eq!(pinned(wrong).err(), Some(Error::Fingerprint(wrong.to_owned())));
        }
    }
}
