//! Authenticated encryption (AES-256-GCM) with a random nonce before the ciphertext.

use aes_gcm::aead::{Aead, Generate, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Error, Result};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The time that a nonce is, in bytes.
const NONCE: usize = 12;

/// A key for one use, derived from another one: `label` keeps the uses apart.
pub(crate) fn derive(key: &[u8], label: &str) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(None, key)
        .expand(format!("signalbox/{label}/v1").as_bytes(), &mut *derived);
    expanded.expect("32 bytes are within HKDF's limit");
    derived
}

/// Encrypts `text`; `context` must be given again to decrypt it.
pub(crate) fn encrypt(key: &[u8; 32], context: &str, text: &[u8]) -> Result<String> {
    let nonce = Nonce::generate();
    let payload = Payload {
        msg: text,
        aad: context.as_bytes(),
    };
    let sealed = Aes256Gcm::new(key.into())
        .encrypt(&nonce, payload)
        .map_err(|_| Error::internal("sealing failed"))?;
    Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
}

/// The value that [`encrypt`] was given; `None` when key, context or ciphertext are others.
pub(crate) fn decrypt(key: &[u8; 32], context: &str, sealed: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
    let payload = Payload {
        msg: sealed,
        aad: context.as_bytes(),
    };
    let nonce = Nonce::try_from(nonce).ok()?;
    Aes256Gcm::new(key.into()).decrypt(&nonce, payload).ok()
}
