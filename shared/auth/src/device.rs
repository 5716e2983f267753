//! Device tokens: what a client keeps of having signed in to an account, so that others who guess at the account cannot keep it
//! out. They sign nobody in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::identity::User;
use rand::Rng;

use crate::Keyring;

/// What device tokens are authenticated for.
const PURPOSE: &str = "device";

/// A token for a device from which `user` has signed in. It is good until the user's password changes.
pub fn issue_device_token(keyring: &Keyring, user: &User) -> String {
    let mut random = [0; 16];
    rand::rng().fill_bytes(&mut random);
    let device = URL_SAFE_NO_PAD.encode(random);
    let mac = keyring.mac(PURPOSE, text(&device, user).as_bytes());
    format!("{device}.{mac}")
}

/// The device of a token that was issued for `user`; `None` for any other.
pub fn known_device<'a>(keyring: &Keyring, user: &User, token: &'a str) -> Option<&'a str> {
    let (device, mac) = token.split_once('.')?;
    let text = text(device, user);
    let is_ours = keyring.verify_mac(PURPOSE, text.as_bytes(), mac);
    is_ours.then_some(device)
}

fn text(device: &str, user: &User) -> String {
    format!("{device}.{}.{}", user.id, user.password_hash)
}
