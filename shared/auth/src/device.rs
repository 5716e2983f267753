//! Device tokens. A client keeps one from a sign-in to an account, so that wrong passwords which others try for the account do not
//! lock this client out. A device token alone signs no user in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::identity::User;
use domain::{Error, Result};
use keyring::Vault;
use rand::Rng;

/// The purpose that device tokens are authenticated for.
const PURPOSE: &str = "device";

/// A token for a device from which `user` has signed in. It is good until the user's password changes.
pub async fn issue_device_token(vault: &Vault, user: &User) -> Result<String> {
    let mut random = [0; 16];
    rand::rng().fill_bytes(&mut random);
    let device = URL_SAFE_NO_PAD.encode(random);
    let mac = vault.mac(PURPOSE, text(&device, user).as_bytes()).await?;
    Ok(format!("{device}.{mac}"))
}

/// The device of a token that was issued for `user`; `None` for any other, as long as its key cannot be read too: the password
/// is what decides.
pub async fn known_device<'a>(
    vault: &Vault,
    user: &User,
    token: &'a str,
) -> Result<Option<&'a str>> {
    let Some((device, mac)) = token.split_once('.') else {
        return Ok(None);
    };
    let text = text(device, user);
    let verified = match vault.verify_mac(PURPOSE, text.as_bytes(), mac).await {
        Err(Error::Unavailable(_)) => None,
        verified => verified?,
    };
    Ok(Some(device).filter(|_| verified == Some(true)))
}

fn text(device: &str, user: &User) -> String {
    format!("{device}.{}.{}", user.id, user.password_hash)
}
